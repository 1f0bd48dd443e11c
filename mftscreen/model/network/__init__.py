"""Networks: weights and structures of any size together in, numbers out."""
