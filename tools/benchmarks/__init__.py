"""What the benchmarks share: the machine they run on, and the reference they run against."""
