"""RHEED images and Sr content of SrTiO3 films, translated into each other through a shared code."""

from repro.study import Study

STUDY = Study(
    name="rheed_translator",
    title="RHEED images and stoichiometry of SrTiO3 films: the universal translator",
    variants=("faithful", "corrected", "improved"),
    deviations=(
        "Without an archive of real films the films are SYNTHETIC, and say nothing of the paper.",
        "The authors' split is known by position only; films are held out in turn here.",
        "The two units between Sr content and its features can be dead from the start, as "
        "published; such a network answers with a constant. The variant corrected starts them "
        "alive.",
    ),
    tasks="recipe:tasks",
    evaluate="evaluate:evaluate",
    figures="figures:figures",
    captions="figures:CAPTIONS",
    archive="data.archive:ARCHIVE",
    released="released.weights:RELEASED",
    apply="apply:apply",
    apply_settings={"response": "linear if pictures of 8 bits are proportional to the intensity"},
    page="page:serve",
)
