"""Configurations: YAML in, frozen settings of a strategy out."""
