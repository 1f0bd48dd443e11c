"""Reference sets: vectors of known structures in; p-values and what is new out."""
