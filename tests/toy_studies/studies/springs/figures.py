"""The figure."""

from repro.reporting.figures import new_figure

CAPTIONS = {"found": "Stiffness found against the true one, of every seed."}


def figures(arrays):
    """Draw what was found against what is true."""
    figure, axes = new_figure()
    for seed in arrays.values():
        axes[0, 0].plot(seed["stiffness"], seed["found"], ".")
    return {"found": figure}
