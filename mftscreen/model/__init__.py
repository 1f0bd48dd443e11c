"""Models: files, checkpoints, mixed-batch evaluation."""
