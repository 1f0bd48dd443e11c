"""Maps: vectors in, positions in two dimensions and pictures out."""
