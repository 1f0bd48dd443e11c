"""Data that users bring: files of structures and labels in, checked rows out."""
