"""Layers that published networks need and Keras lacks, the same under TensorFlow and JAX."""
