"""Training: the loop, run folders, checkpoints, options, progress."""
