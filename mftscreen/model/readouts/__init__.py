"""Read-outs beside the neural heads: pooled descriptors in, properties out."""
