"""Data sets: what they are (spec), how they are made (build) and how they are kept (store)."""
