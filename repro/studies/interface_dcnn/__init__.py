"""Buried step or intermixed interface, told from simulated 4D-STEM by 3-D convolutions."""

from repro.study import Study

STUDY = Study(
    name="interface_dcnn",
    title="Interface structures from simulated 4D-STEM: cation intermixing or roughening",
    variants=("faithful", "improved"),
    deviations=(
        "The patterns are simulated anew with our own multislice code; the authors used muSTEM.",
        "The text leaves out most of the network's layers; what is chosen stands in the README.",
        "The text does not say which epoch's weights count: here, the lowest validation loss.",
    ),
    tasks="recipe:tasks",
    evaluate="evaluate:evaluate",
    figures="figures:figures",
    captions="figures:CAPTIONS",
    separable=True,
)
