"""MAMBA: the interface structure of a thin film from its crystal truncation rods."""

TITLE = "Epitaxial thin film interface imaging: the film's field from crystal truncation rods"
VARIANTS = ("faithful", "improved")
DEVIATIONS = [
    "The films are simulated anew from the published forward model; the authors' own draws differ.",
    "The authors' code that reads atom positions from the recovered density is not public: the "
    "extraction here is ours, and loses less than 0.01 of R² on the true field.",
]
