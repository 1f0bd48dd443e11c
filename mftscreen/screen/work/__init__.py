"""The work of a screening: candidates in, outcomes in a journal out."""
