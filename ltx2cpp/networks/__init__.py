"""The networks, opened when first used, numpy in and out."""
