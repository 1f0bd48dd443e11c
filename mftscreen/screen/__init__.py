"""Screening: candidates in, ranked rows out."""
