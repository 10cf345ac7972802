"""Strain and rotation of 2-D crystals from noisy 4D-STEM, by an autoencoder that transforms."""

from repro.study import Study

STUDY = Study(
    name="strain_ae",
    title="Strain maps from noisy 4D-STEM: the cycle-consistent spatial transforming autoencoder",
    variants=("faithful", "corrected", "improved"),
    deviations=(
        "The published scan was not to be had: unless it is given with --data, a STAND-IN with the "
        "same grains and the same noise is simulated, and no number of the paper can be judged on "
        "it.",
        "The paper's text was not to be had: the network is rebuilt from the authors' published "
        "files. Where these differ, the first stage has the ring of 20 to 85 pixels and the "
        "coefficients of the package; the second has those of the one saved result (10 % noise), "
        "since those of the published weights were tuned by the labels and are not recorded.",
        "The correction of the shape of single discs (LIDST) is left out, as in the authors' "
        "notebooks.",
        "Offsets and shifts of angles that the authors set by hand for each level belong to their "
        "weights. Here the second stage's masks are placed by the base of the first, and angles "
        "are cut in the middle of their widest gap.",
        "Biases before a normalisation and the choice among one base have no effect; they are "
        "there, but not trained.",
        "At smoke and desk networks are narrower, trainings shorter, pixels larger, and the "
        "second stage's grid is less fine.",
    ),
    tasks="recipe:tasks",
    evaluate="evaluate:evaluate",
    figures="figures:figures",
    captions="figures:CAPTIONS",
    comparison_figures="figures:across",
    archive="archive:ARCHIVE",
    apply="apply:apply",
    apply_settings={
        "reference": "the unstrained region, such as 10:20,0:8 for rows and columns of the scan",
        "order": "scan_first or detector_first, which axes come first",
        "dataset": "the scan's path within an HDF5 file",
        "shape": "sizes of raw bytes, 64x64x128x128, or of the scan that a stack is, 64x64",
        "dtype": "type of raw bytes, such as uint16",
    },
    apply_suffixes=(".h5",),
)
