"""Files of models: names and paths in; cards, arrays and weights out."""
