"""Training: the recipe, the precision, and a fit that can be stopped and resumed."""
