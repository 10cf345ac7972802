"""Films: real ones from a file, and synthetic ones."""
