"""What a benchmark needs to know of a machine and of a network."""
