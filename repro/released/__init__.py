"""Weights that authors released, read without running what they may carry."""
