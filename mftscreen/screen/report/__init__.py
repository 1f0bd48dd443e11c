"""The report: a run folder in, one HTML page out."""
