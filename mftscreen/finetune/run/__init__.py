"""A run: settings in, a folder with data, checkpoints and a model file out."""
