"""The internet: addresses in; bytes, within limits of size and time, or files out."""
