"""Ferroelastic domains of BaTiO3 in bright-field frames, by an autoencoder of windowed spectra."""

from repro.study import Study

STUDY = Study(
    name="domain_ae",
    title="Ferroelastic domains in bright-field frames: the windowing autoencoder",
    variants=("faithful", "corrected", "improved"),
    deviations=(
        "The published frames were not to be had: unless they are given with --data, a STAND-IN "
        "with exact labels is simulated, and no number of the authors can be judged on it.",
        "The paper's text was not to be had: the network is rebuilt from the authors' published "
        "notebooks, by which the published weights were trained (the first generation).",
        "A last window lies flush with the edge of a frame, as in the second generation: 41 "
        "windows along 1400 pixels where the first had 40.",
        "A network learns from as many windows an epoch as one published series has, spread evenly "
        "over two specimens; the authors took all windows of one.",
        "Biases before a normalisation have no effect; they are there, but not trained.",
        "At smoke and desk frames and windows are smaller, networks narrower, trainings shorter "
        "at ten times the learning rate, and spectra are not interpolated.",
    ),
    tasks="recipe:tasks",
    evaluate="evaluate:evaluate",
    figures="figures:figures",
    captions="figures:CAPTIONS",
    comparison_figures="figures:across",
    archive="archive:ARCHIVE",
    apply="apply:apply",
    apply_settings={
        "window": "side of the windows in pixels, several periods of the stripes",
        "environment": "which of several folders with Ramp_Up and Ramp_Down",
    },
    apply_suffixes=(".h5",),
)
