"""Mutated files for every reader, and the processes that read them."""
