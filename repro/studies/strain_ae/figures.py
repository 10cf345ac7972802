"""The figures of `strain_ae`: maps, errors, unseen strain, and the base."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from repro.reporting.figures import BLUE, GREY, INK, ORANGE, PAGE_WIDTH, house_style, new_figure
from repro.reporting.panels import (
    DIFFERENCES,
    Seeds,
    colours_below,
    drawable,
    image,
    intensity_scale,
    lowest,
)
from repro.studies.strain_ae.lattice import COMPONENTS

LABELS = ("ε_xx [%]", "ε_yy [%]", "ε_xy [%]", "rotation [°]")
ACROSS_TITLES = ("ε_xx [1e-3]", "ε_yy [1e-3]", "ε_xy [1e-3]", "rotation [°]")
SHOWN_AS = np.array([100, 100, 100, 1], np.float32)  # strain in per cent
LARGEST = (3.0, 3.0, 3.0, 40.0)  # ends of the colour scales, as published [%], [degrees]
SHARE = 0.1  # of them that differences are shown on
READ = {"new_noise": ("grains trained on", BLUE), "unseen": ("unseen grains", ORANGE)}

# Widths of the published histograms of errors, as of a normal law, read off the figures to 5 to
# 10 %: by background [%], of ε_xx, ε_yy, ε_xy [1e-3] and rotation [degrees].
PUBLISHED_LEVELS = (0, 5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 60, 70)
PUBLISHED_WIDTHS = {
    "py4DSTEM, published": (
        (0.35, 0.4, 0.23, 0.011),
        (0.96, 1.03, 0.71, 0.04),
        (1.04, 1.07, 0.72, 0.04),
        (1.1, 1.14, 0.78, 0.043),
        (1.16, 1.18, 0.86, 0.047),
        (1.2, 1.28, 0.91, 0.05),
        (1.31, 1.32, 0.95, 0.055),
        (1.46, 1.44, 1.04, 0.059),
        (1.57, 1.58, 1.14, 0.066),
        (1.75, 1.83, 1.26, 0.072),
        (2.02, 2.01, 1.46, 0.081),
        (2.7, 2.77, 1.99, 0.113),
        (4.11, 3.98, 3.01, 0.174),
    ),
    "the network, published": (
        (0.35, 0.17, 0.31, 0.034),
        (0.51, 0.57, 0.72, 0.058),
        (0.48, 0.52, 0.43, 0.062),
        (0.4, 0.44, 0.41, 0.067),
        (0.48, 0.63, 0.45, 0.072),
        (0.73, 0.72, 0.84, 0.075),
        (0.44, 0.57, 0.56, 0.08),
        (0.65, 0.75, 0.72, 0.073),
        (0.6, 0.81, 0.96, 0.086),
        (0.67, 1.11, 0.68, 0.082),
        (0.88, 0.83, 1.16, 0.097),
        (1.12, 1.21, 1.07, 0.114),
        (1.1, 1.8, 2.2, 0.156),
    ),
}
ACROSS = {  # by what a metric's name begins with
    "": ("this variant", BLUE, "o-"),
    "neighbours/": ("with neighbours", ORANGE, "o-"),
    "limit": ("limit of one pattern", INK, "-"),
}

CAPTIONS = {
    "across_noise": (
        "Errors within grains that were never seen, rms, against the share of the electrons that "
        "are background, and what no unbiased reading of one pattern can pass. Grey: widths of "
        "the published histograms, read off the figures, of grains that the network was trained "
        "on and on smaller pixels."
    ),
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


def across(values: dict[str, dict[str, float]]) -> dict[str, Figure]:
    """Draw errors against background, beside the limit and what was published.

    Parameters
    ----------
    values : dict
        Mean metrics by name, for every experiment.
    """
    names = sorted(name for name in values if name.startswith("noise_"))
    if len(names) < 2:
        return {}
    levels = [int(name.removeprefix("noise_")) for name in names]
    figure, axes = new_figure(1, 4, PAGE_WIDTH, 0.36 * PAGE_WIDTH)
    with house_style():
        for place, (ax, component) in enumerate(zip(axes[0], COMPONENTS, strict=True)):
            scale = 1.0 if component == "rotation" else 1e3
            for (published, widths), mark in zip(PUBLISHED_WIDTHS.items(), ("s", "^"), strict=True):
                shown = [of_level[place] for of_level in widths]
                style = {"color": GREY, "markersize": 3, "linewidth": 0.7, "label": published}
                ax.plot(PUBLISHED_LEVELS, shown, f"{mark}-", **style)
            for prefix, (label, colour, mark) in ACROSS.items():
                is_limit = prefix == "limit"
                key = f"limit/unseen/{component}" if is_limit else f"{prefix}unseen/rms/{component}"
                found = np.array([values[name].get(key, np.nan) for name in names])
                if np.isfinite(found).any():
                    ax.plot(levels, scale * found, mark, color=colour, markersize=3, label=label)
            ax.set(xlabel="background [%]", title=ACROSS_TITLES[place])
            ax.set_ylim(bottom=0)
        marks = axes[0, 0].get_legend_handles_labels()
        figure.legend(*marks, loc="outside upper left", ncols=3)
    return {"across_noise": figure}
