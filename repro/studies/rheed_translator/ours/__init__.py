"""Our translator: a line in one ratio of streaks, and principal patterns; nothing is trained."""
