"""From files to the components of a model: which tensors belong to what, and whether they fit."""
