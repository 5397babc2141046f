"""One generation: what was asked for, settled into a plan, carried out phase by phase."""
