"""The figures of `strain_ae`: maps, errors, unseen strain, and the base."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from repro.reporting.figures import BLUE, INK, ORANGE, PAGE_WIDTH, house_style, new_figure
from repro.reporting.panels import (
    DIFFERENCES,
    Seeds,
    colours_below,
    drawable,
    image,
    intensity_scale,
    lowest,
)

LABELS = ("ε_xx [%]", "ε_yy [%]", "ε_xy [%]", "rotation [°]")
SHOWN_AS = np.array([100, 100, 100, 1], np.float32)  # strain in per cent
LARGEST = (3.0, 3.0, 3.0, 40.0)  # ends of the colour scales, as published [%], [degrees]
SHARE = 0.1  # of them that differences are shown on
READ = {"new_noise": ("grains trained on", BLUE), "unseen": ("unseen grains", ORANGE)}

CAPTIONS = {
    "maps": (
        "Strain and rotation of the scan that was trained on: true, found, and their difference; "
        "lowest seed. One colour scale a column for true and found, a tenth of it for the "
        "differences."
    ),
    "unseen": (
        "Found against true within grains, lowest seed: grains that were trained on, counted anew "
        "(blue), and strains that no network saw (orange). Points on the line: strain is measured. "
        "A cloud that is flatter than the line: it is recalled."
    ),
    "base": (
        "The base that was learned without labels, the pattern that it should be where that is "
        "known, and the mean of all patterns of the scan; lowest seed, on one colour scale."
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
    figure, axes = new_figure(3, 4, PAGE_WIDTH, 0.85 * PAGE_WIDTH)
    with house_style():
        for row, (kind, share) in enumerate((("true", 1), ("found", 1), ("error", SHARE))):
            axes[row, 0].set_ylabel({"error": "difference"}.get(kind, kind))
            for column, largest in enumerate(LARGEST):
                scale = {"cmap": DIFFERENCES, "vmin": -share * largest, "vmax": share * largest}
                shown = (known[f"trained_{kind}"] * SHOWN_AS)[..., column]
                drawn = image(axes[row, column], shown, **scale)
                if kind != "true":
                    beside = axes[:2, column] if kind == "found" else axes[2, column]
                    ticks = [-share * largest, 0, share * largest]
                    options = {"aspect": 15, "ticks": ticks, "label": LABELS[column]}
                    colours_below(figure, beside, drawn, **options)
    return figure


def draw_unseen(arrays: Seeds) -> Figure:
    """Draw what was found against what is true, of known and of unseen strains."""
    known = lowest(arrays)
    figure, axes = new_figure(1, 4, PAGE_WIDTH, 0.33 * PAGE_WIDTH)
    with house_style():
        for column, (ax, label) in enumerate(zip(axes[0], LABELS, strict=True)):
            for name, (title, colour) in READ.items():
                within = known[f"{name}_within"]
                true, error = (
                    (known[f"{name}_{kind}"][within] * SHOWN_AS)[:, column]
                    for kind in ("true", "error")
                )
                style = {"color": colour, "markersize": 1.5, "rasterized": True}
                ax.plot(true, true + error, ".", label=title, **style)
            ends = np.array([-1, 1]) * LARGEST[column]
            ax.plot(ends, ends, color=INK, linewidth=0.5)
            ax.set(xlim=ends, ylim=ends, xlabel=f"true {label}")
        axes[0, 0].set_ylabel("found")
        marks = axes[0, 0].get_legend_handles_labels()
        figure.legend(*marks, loc="outside upper left", ncols=2, markerscale=6)
    return figure


def draw_base(arrays: Seeds) -> Figure:
    """Draw learned base, true base where it is known, and mean pattern."""
    known = lowest(arrays)
    titles = {"learned": "learned", "true": "as it should be", "mean": "mean pattern"}
    titles = {name: title for name, title in titles.items() if f"base_{name}" in known}
    figure, axes = new_figure(1, len(titles), PAGE_WIDTH, 0.36 * PAGE_WIDTH)
    scale = intensity_scale(known.get("base_true", known["base_learned"]))
    with house_style():
        for ax, (name, title) in zip(axes[0], titles.items(), strict=True):
            image(ax, np.maximum(known[f"base_{name}"], 0), **scale)
            ax.set_title(title)
    return figure
