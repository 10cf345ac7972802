"""Our translator: two ratios of streaks, a line, principal patterns; nothing is trained."""
