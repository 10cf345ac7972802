"""A study in two stages, for the tests: the second network reads what the first one answers."""

from repro.study import Study

STUDY = Study(
    name="decays",
    title="Time constants of decays",
    variants=("faithful",),
    deviations=("There is no such paper",),
    tasks="recipe:tasks",
    evaluate="evaluate:evaluate",
    figures="figures:figures",
    captions="figures:CAPTIONS",
    separable=True,
)
