"""The commands, one module each: `DESCRIPTION`, `add_arguments` and `run`."""
