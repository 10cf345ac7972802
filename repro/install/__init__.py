"""Building what no package index offers: Horovod for the installed TensorFlow."""
