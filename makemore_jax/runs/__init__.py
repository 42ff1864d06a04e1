"""A training run on disk, which survives kills: its folder, who may write to it, what is written, the run itself."""
