"""What the released checkpoints look like: configurations, layouts and names, without weights."""
