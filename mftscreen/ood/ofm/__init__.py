"""Orbital field matrices: crystals in, vectors out."""
