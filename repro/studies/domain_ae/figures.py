"""The figures of `domain_ae`: maps beside the truth, features, areas, confusion, noise."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure

from repro.evaluation.metrics import confusion as counted
from repro.reporting.figures import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PAGE_WIDTH,
    PURPLE,
    RED,
    house_style,
    new_figure,
)
from repro.reporting.panels import Seeds, confusion, drawable, image, intensity_scale, lowest
from repro.studies.domain_ae.specimen import CLASSES

COLOURS = (INK, "#e4e7eb", BLUE, "#6ca6e8", ORANGE, RED)  # of the classes
CLASS_SCALE = {
    "cmap": ListedColormap(COLOURS),
    "norm": BoundaryNorm(np.arange(len(CLASSES) + 1) - 0.5, len(CLASSES)),
}
KINDS = {"true": "true", "found": "found"}
LEVELS = ("vacuum", "mid", "gas", "gas_hard")
ACROSS = {
    "features/ari": ("the network's features", BLUE, "o-"),
    "alone/ari": ("ours, one window", GREEN, "o-"),
    "context/ari": ("ours, with neighbours", GREEN, "s--"),
    "pca/ari": ("8 components, whole band", ORANGE, "^-"),
    "pca_banded/ari": ("8 components, band of the stripes", ORANGE, "v-"),
    "polar/ari_gmm": ("polar bins", PURPLE, "^-"),
    "polar/context/ari": ("polar bins, with neighbours", PURPLE, "s--"),
    "untrained/ari": ("untrained network", GREY, ":"),
    "ceiling/supervised/alone": ("learned from labels, one window", INK, "-"),
    "ceiling/supervised/context": ("the same, with neighbours", INK, "--"),
}
ABLATED = "features/ari"

CAPTIONS = {
    "maps": (
        "Frames on heating, the true classes of their windows, and those found; lowest seed, first "
        "specimen of the test split. A network's clusters are named by the truth, our classes by "
        "the direction of their stripes."
    ),
    "features": (
        "The eight features of the windows of the same frames, lowest seed: each channel on a "
        "colour scale of its own."
    ),
    "areas": (
        "Areas of a-c and a-a against temperature: true (lines) and found (points), on heating and "
        "on cooling; lowest seed, first specimen of the test split. The published curves cross at "
        "72 °C on heating and at 63 to 65 °C on cooling, not at 60 °C as the poster has it."
    ),
    "confusion": (
        "How often windows of a class (rows) were taken for each (columns); lowest seed, first "
        "specimen of the test split, windows of purity above 70 %."
    ),
    "across_noise": (
        "Adjusted Rand index against noise, from vacuum to the noisiest gas, for every method with "
        "floor and ceilings."
    ),
    "ablations": (
        "Adjusted Rand index of k-means of the features, each bar an experiment that alters one "
        "choice, all in gas."
    ),
}


def figures(arrays: Seeds) -> dict[str, Figure]:
    """Draw every figure by name."""
    return drawable(
        {
            "maps": (draw_maps, ["map_true"]),
            "features": (draw_features, ["features"]),
            "areas": (draw_areas, ["area_found"]),
            "confusion": (draw_confusion, ["confusion_true"]),
        },
        arrays,
    )


def draw_maps(arrays: Seeds) -> Figure:
    """Draw frames, true classes and classes found."""
    known = lowest(arrays)
    n = len(known["map_true"])
    figure, axes = new_figure(3, n, PAGE_WIDTH, PAGE_WIDTH * 3.4 / max(n, 3))
    with house_style():
        for column in range(n):
            counts = known["map_counts"][column]
            image(axes[0, column], counts, **intensity_scale(known["map_counts"]))
            axes[0, column].set_title(f"{known['map_temperature'][column]:g} °C")
            for row, kind in enumerate(KINDS, start=1):
                image(axes[row, column], known[f"map_{kind}"][column], **CLASS_SCALE)
        for row, name in enumerate(("frame", *KINDS.values())):
            axes[row, 0].set_ylabel(name)
        name_classes(figure, axes[1, 0])
    return figure


def name_classes(figure: Figure, ax: Axes) -> None:
    """Name the colours of the classes below all panels."""
    marks = [
        ax.plot([], [], "s", color=colour, label=name)[0]
        for name, colour in zip(CLASSES, COLOURS, strict=True)
    ]
    figure.legend(handles=marks, loc="outside lower left", ncols=len(CLASSES))


def draw_features(arrays: Seeds) -> Figure:
    """Draw the features of the windows, a row a frame."""
    features = lowest(arrays)["features"][::2]
    temperatures = lowest(arrays)["map_temperature"][::2]
    n, channels = len(features), features.shape[-1]
    figure, axes = new_figure(n, channels, PAGE_WIDTH, PAGE_WIDTH * (n + 0.3) / channels)
    with house_style():
        for channel in range(channels):
            values = features[..., channel]
            scale = {"vmin": values.min(), "vmax": max(values.max(), values.min() + 1e-9)}
            axes[0, channel].set_title(f"{channel}")
            for row in range(n):
                image(axes[row, channel], values[row], **scale)
        for row, temperature in enumerate(temperatures):
            axes[row, 0].set_ylabel(f"{temperature:g} °C")
    return figure


def draw_areas(arrays: Seeds) -> Figure:
    """Draw areas against temperature, on heating and on cooling."""
    known = lowest(arrays)
    figure, axes = new_figure(1, 2, PAGE_WIDTH, 0.42 * PAGE_WIDTH, sharey=True)
    with house_style():
        for is_cooling, ax in enumerate(axes[0]):
            chosen = known["area_is_cooling"] == is_cooling
            temperature = known["area_temperature"][chosen]
            for place, (name, colour) in enumerate((("a-c", BLUE), ("a-a", ORANGE))):
                for kind, mark in (("true", "-"), ("found", "o")):
                    if f"area_{kind}" in known:
                        values = known[f"area_{kind}"][place][chosen]
                        style = {"color": colour, "markersize": 4, "label": f"{name}, {kind}"}
                        ax.plot(temperature, values, mark, **style)
            ax.set(xlabel="temperature [°C]", title=("heating", "cooling")[is_cooling])
            ax.set_ylim(0, 1)
        axes[0, 0].set_ylabel("area [1]")
        axes[0, 1].legend(loc="upper right")
    return figure


def draw_confusion(arrays: Seeds) -> Figure:
    """Draw which classes are taken for which."""
    known = lowest(arrays)
    true, found = (known[f"confusion_{kind}"].astype(int) for kind in ("true", "found"))
    figure, axes = new_figure(1, 1, 0.75 * PAGE_WIDTH, 0.6 * PAGE_WIDTH)
    with house_style():
        ax = axes[0, 0]
        confusion(ax, counted(true, found, len(CLASSES)), 8.0)
        ticks = range(len(CLASSES))
        ax.set_xticks(ticks, CLASSES, rotation=30, ha="right")
        ax.set_yticks(ticks, CLASSES)
        ax.set(xlabel="found", ylabel="true")
    return figure


def across(values: dict[str, dict[str, float]]) -> dict[str, Figure]:
    """Draw indices against noise, and those of ablations.

    Parameters
    ----------
    values : dict
        Mean metrics by name, for every experiment.
    """
    drawn = {}
    levels = [name for name in LEVELS if name in values]
    if len(levels) > 1:
        drawn["across_noise"] = draw_noise(levels, values)
    ablated = [name for name in values if name not in LEVELS and ABLATED in values[name]]
    if "gas" in values and ABLATED in values["gas"] and ablated:
        drawn["ablations"] = draw_ablations(["gas", *ablated], values)
    return drawn


def draw_noise(levels: list[str], values: dict[str, dict[str, float]]) -> Figure:
    """Draw indices of every method against noise."""
    figure, axes = new_figure(1, 1, PAGE_WIDTH, 0.55 * PAGE_WIDTH)
    with house_style():
        ax = axes[0, 0]
        for metric, (label, colour, mark) in ACROSS.items():
            found = np.array([values[level].get(metric, np.nan) for level in levels])
            if np.isfinite(found).any():
                ax.plot(range(len(levels)), found, mark, color=colour, markersize=4, label=label)
        ax.set_xticks(range(len(levels)), levels)
        ax.set(ylabel="adjusted Rand index [1]", ylim=(-0.05, 1.02))
        figure.legend(loc="outside right upper")
    return figure


def draw_ablations(names: list[str], values: dict[str, dict[str, float]]) -> Figure:
    """Draw the index of each ablation beside that of what is altered."""
    figure, axes = new_figure(1, 1, PAGE_WIDTH, 0.3 * PAGE_WIDTH + 0.2 * len(names))
    with house_style():
        ax = axes[0, 0]
        found = [values[name][ABLATED] for name in names]
        ax.barh(range(len(names)), found, color=[BLUE, *[GREY] * (len(names) - 1)])
        ax.set_yticks(range(len(names)), names)
        ax.invert_yaxis()
        ax.set(xlabel="adjusted Rand index [1]")
    return figure
