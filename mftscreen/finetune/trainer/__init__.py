"""All that knows deepmd-kit's trainer: its input in, checkpoints out."""
