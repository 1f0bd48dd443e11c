"""Results: a journal in, rows with flags and intervals out, and files of them."""
