"""Kernel read-outs: a descriptor and labelled rows in, fitted read-outs out."""
