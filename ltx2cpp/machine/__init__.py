"""What this machine has for the package: processors, memory, and the place of the core."""
