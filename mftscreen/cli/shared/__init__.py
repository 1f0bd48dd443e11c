"""What several commands share: options, standard output, reference sets."""
