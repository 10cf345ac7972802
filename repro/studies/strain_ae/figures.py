"""The figures of `strain_ae`: maps, errors, unseen strain, and the base."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from repro.reporting.figures import BLUE, INK, ORANGE, PAGE_WIDTH, new_figure
from repro.reporting.panels import (
    DIFFERENCES,
    Seeds,
    drawable,
    image,
    intensity_scale,
    lowest,
)

LABELS = ("ε_xx", "ε_yy", "ε_xy", "rotation")
LARGEST = (0.03, 0.03, 0.03, 40.0)  # ends of the colour scales, as published [1], [degrees]

CAPTIONS = {
    "maps": (
        "Strain and rotation of the scan that was trained on: true, found, and their difference; "
        "lowest seed. One colour scale a column for the first two rows (strain ± 3 %, rotation "
        "± 40°), a tenth of it for the differences."
    ),
    "unseen": (
        "Found against true within grains, lowest seed: grains that were trained on, counted anew "
        "(blue), and strains that no network saw (orange). Points on the line: strain is measured. "
        "A cloud that is flatter than the line: it is recalled."
    ),
    "base": (
        "The base that was learned without labels, the pattern that it should be, and the mean of "
        "all patterns of the trained scan; lowest seed, on one colour scale."
    ),
}


def figures(arrays: Seeds) -> dict[str, Figure]:
    """Draw every figure by name."""
    return drawable(
        {
            "maps": (draw_maps, ["trained_found"]),
            "unseen": (draw_unseen, ["new_noise_found", "unseen_found"]),
            "base": (draw_base, ["base_learned"]),
        },
        arrays,
    )


def draw_maps(arrays: Seeds) -> Figure:
    """Draw the maps of the trained scan."""
    known = lowest(arrays)
    figure, axes = new_figure(3, 4, width=PAGE_WIDTH, height=0.75 * PAGE_WIDTH)
    for row, (kind, share) in enumerate((("true", 1), ("found", 1), ("error", 0.1))):
        for column, label in enumerate(LABELS):
            ax, largest = axes[row, column], share * LARGEST[column]
            scale = {"cmap": DIFFERENCES, "vmin": -largest, "vmax": largest}
            image(ax, known[f"trained_{kind}"][..., column], **scale)
            if row == 0:
                ax.set_title(label)
        axes[row, 0].set_ylabel({"error": "difference"}.get(kind, kind))
    return figure


def draw_unseen(arrays: Seeds) -> Figure:
    """Draw what was found against what is true, of known and of unseen strains."""
    known = lowest(arrays)
    figure, axes = new_figure(1, 4, width=PAGE_WIDTH, height=0.3 * PAGE_WIDTH)
    for column, label in enumerate(LABELS):
        ax = axes[0, column]
        for name, colour in (("new_noise", BLUE), ("unseen", ORANGE)):
            within = known[f"{name}_within"]
            true, error = (known[f"{name}_{kind}"][within][:, column] for kind in ("true", "error"))
            ax.plot(true, true + error, ".", color=colour, markersize=1, rasterized=True)
        ends = np.array([-1, 1]) * LARGEST[column]
        ax.plot(ends, ends, color=INK, linewidth=0.5)
        ax.set(title=label, xlim=ends, ylim=ends, xlabel="true")
    axes[0, 0].set_ylabel("found")
    return figure


def draw_base(arrays: Seeds) -> Figure:
    """Draw learned base, true base and mean pattern."""
    known = lowest(arrays)
    figure, axes = new_figure(1, 3, width=PAGE_WIDTH, height=0.36 * PAGE_WIDTH)
    scale = intensity_scale(known["base_true"])
    for ax, (name, title) in zip(
        axes[0], (("learned", "learned"), ("true", "true"), ("mean", "mean pattern")), strict=True
    ):
        image(ax, np.maximum(known[f"base_{name}"], 0), **scale)
        ax.set_title(title)
    return figure
