"""What a generation takes in memory, and how it is made to fit."""
