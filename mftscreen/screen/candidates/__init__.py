"""Candidates: files, databases and addresses in, structures with ids out."""
