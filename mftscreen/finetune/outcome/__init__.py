"""What a training gave: a checkpoint in; errors, card and reference sets out."""
