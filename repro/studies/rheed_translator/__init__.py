"""RHEED images and Sr content of SrTiO3 films, translated into each other through a shared code."""

TITLE = "RHEED images and stoichiometry of SrTiO3 films: the universal translator"
VARIANTS = ("faithful", "corrected", "improved")
DEVIATIONS = [
    "Without an archive of real films the films are SYNTHETIC, and say nothing of the paper.",
    "The authors' split is known by position in their file only; films are held out in turn here.",
    "The two units between Sr content and its features can be dead from the start, as published; "
    "such a network answers with a constant. The variant corrected starts them alive.",
]
