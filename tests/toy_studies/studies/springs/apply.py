"""The stiffness of a user's own springs."""

import numpy as np

from repro.reporting.figures import new_figure
from repro.study import Applied, Quantity


def apply(trained, source, progress):
    """Read elongations from a text file, a spring a line [m], and tell each spring's stiffness."""
    elongation = np.loadtxt(source, ndmin=2)
    mean, deviation = trained.dataset.statistics("elongation")
    found = trained.models["stiffness"].predict((elongation - mean) / deviation, verbose=0)[:, 0]
    progress(len(found), len(found))
    figure, axes = new_figure()
    axes[0, 0].plot(found)
    stiffness = Quantity(
        found, "N/m", "Force per elongation.", interval=(found - 0.5, found + 0.5), level=0.9
    )
    names = Quantity(np.array([f"spring {i}" for i in range(len(found))]), "", "Which spring.")
    caption = "Stiffness of each spring."
    return Applied({"name": names, "stiffness": stiffness}, {"stiffness": (figure, caption)})
