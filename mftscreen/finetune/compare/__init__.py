"""Strategies on the same folds: a configuration in, all errors and a verdict out."""
