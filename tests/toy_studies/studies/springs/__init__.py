"""A study as small as a study can be, for the tests."""

from repro.study import Study

STUDY = Study(
    name="springs",
    title="Stiffness of springs",
    variants=("faithful", "improved"),
    deviations=("There is no such paper",),
    tasks="recipe:tasks",
    evaluate="evaluate:evaluate",
    figures="figures:figures",
    captions="figures:CAPTIONS",
    apply="apply:apply",
)
