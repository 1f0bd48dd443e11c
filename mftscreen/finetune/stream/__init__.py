"""Force-field frames that are read while a model is trained on them."""
