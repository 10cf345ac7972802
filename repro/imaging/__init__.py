"""What studies do to images: resize, shift and rotate them, count electrons, find peaks."""
