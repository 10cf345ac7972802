"""MAMBA: the interface structure of a thin film from its crystal truncation rods."""

from repro.study import Study

STUDY = Study(
    name="mamba",
    title="Epitaxial thin film interface imaging: the film's field from crystal truncation rods",
    variants=("faithful", "improved"),
    deviations=(
        "The films are simulated anew from the published forward model; the authors' own differ.",
        "The authors' code that reads atom positions from the recovered density is not public: the "
        "extraction here is ours, and loses less than 0.01 of R² on the true field. It confines Sr "
        "fractions to 0 to 1 with the sum 2, and occupancies to their range.",
        "R² is the coefficient of determination; the text may mean a squared correlation.",
    ),
    tasks="recipe:tasks",
    evaluate="evaluate:evaluate",
    figures="figures:figures",
    captions="figures:CAPTIONS",
    comparison_figures="figures:across",
    published_curves="figures:PUBLISHED_CURVES",
)
