"""The weights that the authors released, judged without training."""
