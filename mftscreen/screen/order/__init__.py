"""The order of candidates: values and goals in, ranks out."""
