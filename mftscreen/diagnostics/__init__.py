"""What fine-tuning did to a model's representations: drift, clusters, collapse."""
