"""A training run on disk, which survives kills."""
