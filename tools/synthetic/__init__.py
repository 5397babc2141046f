"""Made-up weights at the sizes of the released models."""
