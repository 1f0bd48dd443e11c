"""Training: configurations and labelled data in, model files out."""
