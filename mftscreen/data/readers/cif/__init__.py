"""Crystals of CIF files, compared with what the file declares of them."""
