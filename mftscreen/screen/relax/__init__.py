"""Relaxation: structures and forces in, relaxed structures out."""
