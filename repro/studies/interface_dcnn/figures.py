"""The figures of `interface_dcnn`: structures, their patterns, what the network makes of them.

Drawn from the arrays that `evaluate` returns. Examples are those of the lowest seed; curves and
counts take all seeds.
"""

from __future__ import annotations

from math import gcd

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator, MultipleLocator, NullLocator

from repro.imaging.counting import NOISE_FREE
from repro.reporting.figures import (
    BLUE,
    GREEN,
    GREY,
    INK,
    MUTED,
    ORANGE,
    PAGE_WIDTH,
    PURPLE,
    RED,
    house_style,
    new_figure,
)
from repro.reporting.panels import (
    CLIPPED,
    INTENSITIES,
    Arrays,
    Drawings,
    Seeds,
    confusion,
    curve_over_seeds,
    drawable,
    legend_above_panels,
    lowest,
    mean_and_range,
    of_all_seeds,
    predicted_against_true,
    signed_scale,
)
from repro.studies.interface_dcnn.crystal import A_SUBSTRATE, SLICE_THICKNESS
from repro.studies.interface_dcnn.simulate import N_CLASSES

CAPTIONS = {
    "structures": (
        "The two kinds of interface, seen along y (paper, Fig. 2): cations of the layers about the "
        "interface, filled those of SrTiO₃, open those of LaAlO₃; heights are not to scale. "
        "Dotted: the thicknesses at which patterns are read. Shown are the test samples nearest to "
        "a step at 40 % of the greatest thickness and to 20 % Ti."
    ),
    "intensity": (
        "Electrons on the detector by probe position for the samples shown, greatest thickness; "
        "one cell, repeated along y; x counts from the substrate's last TiO₂ layer. "
        "Crosses: columns of cations."
    ),
    "patterns": (
        "Patterns along the line y = 0 across the interface for the samples shown, greatest "
        "thickness: the input of the network (paper, Fig. 3a). Square roots, which even out "
        "counting noise, and their difference, intermixed minus step."
    ),
    "class_confusion": (
        "Rough or diffuse, test lines without noise: how often each class was taken for each, all "
        "thicknesses and seeds together, with shares of the rows."
    ),
    "step_confusion": (
        "Position of the step, test columns without noise: how often each tenth of the thickness "
        "was taken for each, all seeds together; colours are shares of the rows."
    ),
    "accuracy_dose": (
        "Accuracy on the test split against dose, mean over thicknesses: the network, and linear "
        "models on the same patterns. Bars from the lowest to the highest seed."
    ),
    "accuracy_thickness": (
        "Accuracy on the test split against thickness, without noise, beside what the paper "
        "reports for its own data (0.98; 0.80 to 0.90). Bars from the lowest to the highest seed."
    ),
    "certainty": (
        "How sure the network is, test lines without noise. Left: its probability of diffuse "
        "against the depth of the step or the share of Al sites with Ti. Right: how often answers "
        "of a stated probability are right, all seeds, with their number."
    ),
    "regression": (
        "Position of the step found as a number against the true one, test columns of all "
        "thicknesses without noise; root mean square error with its range over seeds."
    ),
}

# Colour, marker and fill: a print in grey tells them apart too.
CATIONS = {
    "Sr": (PURPLE, "o", PURPLE),
    "Ti": (BLUE, "s", BLUE),
    "La": (GREEN, "o", "white"),
    "Al": (ORANGE, "s", "white"),
}
SAMPLES = {"step": "buried step", "mixed": "intermixed"}
DIFFERENCE = "intermixed − step"
CLASSES = {"rough": (BLUE, "o"), "diffuse": (ORANGE, "^")}
TASKS = {"class": "rough or diffuse", "step": "step position, 11 classes"}
GUESSING = {"class": 1 / 2, "step": 1 / N_CLASSES}
PUBLISHED = {"class": (0.98, 0.98), "step": (0.80, 0.90)}  # lowest and highest accuracy
METHODS = {
    "": ("network", BLUE, "o"),
    "linear_": ("linear, all bins", ORANGE, "s"),
    "total_intensity_": ("linear, total intensities", GREEN, "^"),
    "centre_of_mass_": ("linear, centres of mass", PURPLE, "D"),
    "radial_means_": ("linear, radial means", GREY, "v"),
}
REFERENCES = ("guessing", "paper")
N_CELLS_SHOWN = 3
N_PATTERNS_SHOWN = 7
N_BINS_SHOWN = 32
N_BINS_OF_CONFIDENCE = 5
ARROW = {"arrowstyle": "-|>", "color": INK, "shrinkA": 0}
IMAGE = {"origin": "lower", "interpolation": "nearest"}


def figures(arrays: Seeds) -> dict[str, Figure]:
    """Draw every figure whose arrays there are, by name."""
    return drawable(FIGURES, arrays)


# ---- what was simulated


def structures(arrays: Seeds) -> Figure:
    """Draw the cations about the interface of a buried step and of an intermixed one."""
    shown = lowest(arrays)
    columns = {sample: shown[f"{sample}_exchanged"] for sample in SAMPLES}
    n_film_layers = max(2, *(int(exchanged.max()).bit_length() for exchanged in columns.values()))
    ticks = [0, *shown["thicknesses"]]
    figure, axes = new_figure(2, 1, PAGE_WIDTH, 3.6, sharex=True)
    with house_style():
        for ax, (sample, exchanged) in zip(axes[:, 0], columns.items(), strict=True):
            draw_column(ax, layers_of(exchanged, n_film_layers))
            share = np.mean(exchanged[:, 1] & 1)
            where = "of the thickness" if sample == "step" else "of the first Al sites hold Ti"
            ax.set_title(f"{SAMPLES[sample]}: {share:.0%} {where}")
            for thickness in shown["thicknesses"]:
                ax.axvline(thickness, color=MUTED, lw=0.8, ls=":", zorder=0)
        ax.set_xticks(ticks, [f"{tick:.0f}" for tick in ticks])
        ax.set_xlabel("depth along the beam, z [Å]")
        legend_above_panels(figure, axes[0, 0], "upper right")
    return figure


def layers_of(exchanged: np.ndarray, n_film_layers: int) -> list[np.ndarray]:
    """Return the cations of SrO, TiO2, then alternating LaO and AlO2, ``(n_cells,)`` each.

    Parameters
    ----------
    exchanged : numpy.ndarray
        ``(n_cells, 2)`` int, as `crystal.step` returns it.
    n_film_layers : int
        Layers of LaO and of AlO2.
    """
    layers = [np.full(len(exchanged), cation) for cation in ("Sr", "Ti")]
    for layer in range(n_film_layers):
        is_other = (exchanged >> layer & 1) == 1
        layers += [np.where(is_other[:, 0], "Sr", "La"), np.where(is_other[:, 1], "Ti", "Al")]
    return layers


def draw_column(ax: Axes, layers: list[np.ndarray]) -> None:
    """Draw the cations of a column, layer by layer; the beam comes from the left."""
    cells = np.arange(len(layers[0]))
    thickness = len(cells) * A_SUBSTRATE
    size = float(np.clip(320 / len(cells), 3, 8))  # [points], that neighbours do not touch
    for height, layer in enumerate(layers):
        z = cells * A_SUBSTRATE + height % 2 * SLICE_THICKNESS
        for cation, (colour, marker, fill) in CATIONS.items():
            of_element = z[layer == cation]
            style = {"color": colour, "mfc": fill, "ms": size, "mew": 0.9, "rasterized": True}
            if len(of_element):
                heights = np.full(len(of_element), height)
                ax.plot(of_element, heights, marker, label=cation, **style)
    ax.annotate("", (-0.01 * thickness, 2.5), (-0.085 * thickness, 2.5), arrowprops=ARROW)
    ax.text(-0.05 * thickness, 2.75, "beam", ha="center", fontsize=9)
    ax.set_yticks(range(len(layers)), ["SrO", "TiO₂", *["LaO", "AlO₂"] * (len(layers) // 2 - 1)])
    ax.set(xlim=(-0.09 * thickness, 1.01 * thickness), ylim=(-0.7, len(layers) - 0.3))
    ax.grid(visible=False)


def intensity(arrays: Seeds) -> Figure:
    """Draw the electrons on the detector by probe position for both samples, and the difference."""
    shown = lowest(arrays)
    images = [whole_cells(shown[f"{sample}_image"][-1], shown["probe_y"]) for sample in SAMPLES]
    difference = images[1] - images[0]
    same_scale = {"vmin": np.min(images), "vmax": np.max(images)}
    signed = signed_scale(difference, clipped=1)
    figure, axes = new_figure(1, 3, PAGE_WIDTH, 2.5, sharex=True, sharey=True)
    figure.set_layout_engine("compressed")
    bar = {"location": "bottom", "aspect": 30, "pad": 0.04}
    with house_style():
        for ax, image, title in zip(axes[0], images, SAMPLES.values(), strict=False):
            drawn = draw_positions(ax, image, shown["probe_x"], **same_scale)
            ax.set_title(title)
        figure.colorbar(drawn, ax=axes[0, :2], label="share of the electrons", **bar)
        drawn = draw_positions(axes[0, 2], difference, shown["probe_x"], **signed)
        axes[0, 2].set_title(DIFFERENCE)
        bar["ticks"] = MaxNLocator(4)
        figure.colorbar(drawn, ax=axes[0, 2], label="difference", **bar)
        axes[0, 0].set_ylabel("x [Å]")
        if "layer_x" in shown:
            mark_columns(axes[0], shown["layer_x"])
    return figure


def whole_cells(image: np.ndarray, line_heights: np.ndarray) -> np.ndarray:
    """Return an image of some cells side by side, x up, ``(n_positions, n)``.

    Parameters
    ----------
    image : numpy.ndarray
        ``(n_lines, n_positions)``, lines over the cell or from one mirror line to the next.
    line_heights : numpy.ndarray
        The y of the lines, ``(n_lines,)`` [Å].
    """
    is_half = line_heights.max() <= A_SUBSTRATE / 2 + 1e-6
    cell = np.concatenate([image, image[-2:0:-1]]) if is_half else image
    return np.tile(cell, (N_CELLS_SHOWN, 1)).T


def draw_positions(ax: Axes, image: np.ndarray, x: np.ndarray, **scale) -> AxesImage:
    """Draw a value at every probe position, a pixel each."""
    width = N_CELLS_SHOWN * A_SUBSTRATE
    half_x, half_y = (x[1] - x[0]) / 2, width / image.shape[1] / 2
    extent = (-half_y, width - half_y, x[0] - half_x, x[-1] + half_x)
    ax.set_xlabel("y [Å]")
    ax.xaxis.set_major_locator(MultipleLocator(4))
    ax.grid(visible=False)
    return ax.imshow(image, extent=extent, **IMAGE, **scale)


def mark_columns(axes: np.ndarray, layer_heights: np.ndarray) -> None:
    """Mark the columns of cations, and name the layers at the right.

    Parameters
    ----------
    axes : numpy.ndarray
        The panels, the last of them with a white ground.
    layer_heights : numpy.ndarray
        x of every layer from the substrate's last TiO2 layer, ``(n_layers,)`` [Å]; BO2 and AO
        layers alternate.
    """
    low, high = axes[0].get_ylim()
    seen = np.flatnonzero((low <= layer_heights) & (layer_heights <= high))
    for layer in seen:
        y = A_SUBSTRATE * (np.arange(N_CELLS_SHOWN) + (0 if layer % 2 else 0.5))
        for ax, colour in zip(axes, ("white", "white", INK), strict=True):
            height = np.full(N_CELLS_SHOWN, layer_heights[layer])
            ax.plot(y, height, "+", color=colour, ms=5, mew=0.8)
    names = ["TiO₂", *["LaO", "AlO₂"] * len(seen)][: len(seen)]
    axes[-1].secondary_yaxis("right").set_yticks(layer_heights[seen], names)


def patterns(arrays: Seeds) -> Figure:
    """Draw square roots of the patterns along a line for both samples, and the difference."""
    shown = lowest(arrays)
    stride = -(-len(shown["probe_x"]) // N_PATTERNS_SHOWN)
    lines = [np.sqrt(binned(shown[f"{sample}_line"][::stride])) for sample in SAMPLES]
    difference = lines[1] - lines[0]
    same_scale = {"cmap": INTENSITIES, "vmin": 0, "vmax": np.quantile(lines, CLIPPED)}
    signed = signed_scale(difference)
    figure, axes = new_figure(3, 1, PAGE_WIDTH, 3.9, sharex=True)
    figure.set_layout_engine("compressed")
    with house_style():
        for ax, line, title in zip(axes[:, 0], lines, SAMPLES.values(), strict=False):
            drawn = draw_line(ax, line, shown["k"], **same_scale)
            ax.set_title(title)
        label = "√ share of the electrons"
        figure.colorbar(drawn, ax=axes[:2], extend="max", label=label)
        drawn = draw_line(axes[2, 0], difference, shown["k"], **signed)
        axes[2, 0].set_title(DIFFERENCE)
        few = MaxNLocator(4)
        figure.colorbar(drawn, ax=axes[2], extend="both", ticks=few, label="difference")
        name_positions(axes[2, 0], shown["probe_x"][::stride], shown["k"])
    return figure


def binned(line: np.ndarray) -> np.ndarray:
    """Return patterns with neighbouring bins summed where there are more than print can show."""
    n_bins = line.shape[-1]
    factor = gcd(n_bins, max(1, n_bins // N_BINS_SHOWN))
    shape = (len(line), n_bins // factor, factor, n_bins // factor, factor)
    return line.reshape(shape).sum(axis=(2, 4))


def draw_line(ax: Axes, line: np.ndarray, k: np.ndarray, **scale) -> AxesImage:
    """Draw patterns side by side, k_x up and k_y across."""
    half, period = k[-1] + (k[1] - k[0]) / 2, square_period(k)
    for place, pattern in enumerate(line):
        extent = (place * period - half, place * period + half, -half, half)
        drawn = ax.imshow(pattern, extent=extent, **IMAGE, **scale)
    ax.set(xlim=(-half, (len(line) - 1) * period + half), yticks=[-1, 0, 1], ylabel="$k_x$ [Å⁻¹]")
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    return drawn


def name_positions(ax: Axes, x: np.ndarray, k: np.ndarray) -> None:
    """Write below each pattern where its probe stood."""
    ax.set_xticks(square_period(k) * np.arange(len(x)), [f"{height:.1f}" for height in x])
    ax.set_xlabel("position of the probe, x [Å]; within a square: $k_y$, on the scale of $k_x$")


def square_period(k: np.ndarray) -> float:
    """Return the distance of two patterns that are drawn side by side [Å⁻¹]."""
    return 1.06 * len(k) * (k[1] - k[0])


# ---- what the network makes of it


def class_confusion(arrays: Seeds) -> Figure:
    """Draw how often each class was taken for each."""
    counts = of_all_seeds(arrays, "class_confusion").sum(axis=0)
    names = ["rough\n(buried step)", "diffuse\n(intermixed)"]
    figure, axes = new_figure(height=2.6)
    ax = axes[0, 0]
    with house_style():
        confusion(ax, counts, fontsize=10, shares=True)
        ax.axhline(0.5, color="white", lw=2)
        ax.axvline(0.5, color="white", lw=2)
        ax.set_xticks(range(len(names)), names)
        ax.set_yticks(range(len(names)), names)
        ax.set(xlabel="found", ylabel="true")
    return figure


def step_confusion(arrays: Seeds) -> Figure:
    """Draw how often each tenth of the thickness was taken for each, a panel a thickness."""
    begin = "step_confusion_"
    known = [name.removeprefix(begin) for name in lowest(arrays) if name.startswith(begin)]
    thicknesses, tenths = sorted(known, key=int), (0, 5, 10)
    width = min(PAGE_WIDTH, 1.0 + 1.6 * len(thicknesses))
    figure, axes = new_figure(1, len(thicknesses), width, 2.0, sharey=True)
    figure.set_layout_engine("compressed")
    with house_style():
        for ax, thickness in zip(axes[0], thicknesses, strict=True):
            counts = of_all_seeds(arrays, begin + thickness).sum(axis=0)
            confusion(ax, counts, fontsize=6)
            right = np.trace(counts) / max(counts.sum(), 1)
            ax.set_title(f"{thickness} Å: {right:.0%} right", fontsize=9)
            ax.set_xticks(tenths, [f"{10 * tenth}" for tenth in tenths])
            ax.set_yticks(tenths, [f"{10 * tenth}" for tenth in tenths])
        axes[0, len(thicknesses) // 2].set_xlabel("found [% of the thickness]")
        axes[0, 0].set_ylabel("true [%]")
    return figure


def accuracy_dose(arrays: Seeds) -> Figure:
    """Draw accuracy against dose, a panel a question; patterns without noise stand apart."""
    doses = lowest(arrays)["doses"]
    counted, apart = doses != NOISE_FREE, 10 * doses.max()
    x = np.where(counted, doses, apart)
    figure, panels = accuracy_panels("electrons in a pattern")
    with house_style():
        for task, ax in panels.items():
            for method, accuracy in accuracies(arrays, task).items():
                mean = accuracy.mean(axis=2)
                draw_accuracy(ax, x[counted], mean[:, counted], method)
                draw_accuracy(ax, x[~counted], mean[:, ~counted], method)
            ax.axvline(apart / 10**0.5, color=MUTED, lw=0.8)
            ax.set_xscale("log")
            ax.set_xticks(x, [dose_label(dose) for dose in doses])
            ax.xaxis.set_minor_locator(NullLocator())
            ax.set_ylim(top=1.02)
        legend_above_panels(figure, panels["class"], "upper left", REFERENCES)
    return figure


def dose_label(dose: float) -> str:
    """Return a dose as a power of ten, or that there is no noise."""
    return "no noise" if dose == NOISE_FREE else f"$10^{{{np.log10(dose):g}}}$"


def accuracy_thickness(arrays: Seeds) -> Figure:
    """Draw accuracy against thickness without noise, a panel a question, and the paper's."""
    thicknesses, doses = lowest(arrays)["thicknesses"], lowest(arrays)["doses"]
    figure, panels = accuracy_panels("thickness [Å]")
    with house_style():
        for task, ax in panels.items():
            for method, accuracy in accuracies(arrays, task).items():
                draw_accuracy(ax, thicknesses, accuracy[:, doses == NOISE_FREE][:, 0], method)
            ax.axhspan(*PUBLISHED[task], color=RED, alpha=0.1, lw=0)
            for value in PUBLISHED[task]:
                ax.axhline(value, color=RED, ls="--", lw=1, label="paper")
            ax.set_xticks(thicknesses, [f"{thickness:.0f}" for thickness in thicknesses])
            ax.set_ylim(top=1.02)
        legend_above_panels(figure, panels["class"], "upper left", REFERENCES)
    return figure


def accuracy_panels(xlabel: str) -> tuple[Figure, dict[str, Axes]]:
    """Return a figure with a panel a question, in which the accuracy of guessing is marked."""
    figure, axes = new_figure(1, len(TASKS), PAGE_WIDTH, 3.2)
    with house_style():
        for ax, (task, title) in zip(axes[0], TASKS.items(), strict=True):
            ax.axhline(GUESSING[task], color=MUTED, ls=":", label="guessing")
            ax.set(title=title, xlabel=xlabel)
        axes[0, 0].set_ylabel("accuracy")
    return figure, dict(zip(TASKS, axes[0], strict=True))


def accuracies(arrays: Seeds, task: str) -> dict[str, np.ndarray]:
    """Return the accuracy of every method, ``(n_seeds, n_doses, n_thicknesses)`` each."""
    names = {method: f"{method}{task}_accuracy" for method in METHODS}
    known = lowest(arrays)
    return {m: of_all_seeds(arrays, name) for m, name in names.items() if name in known}


def draw_accuracy(ax: Axes, x: np.ndarray, accuracy: np.ndarray, method: str) -> None:
    """Draw the mean over seeds with bars from the lowest to the highest.

    Parameters
    ----------
    ax : Axes
        Where to.
    x : numpy.ndarray
        ``(n,)``.
    accuracy : numpy.ndarray
        ``(n_seeds, n)``.
    method : str
        A key of `METHODS`.
    """
    label, colour, marker = METHODS[method]
    style = {"ms": 4, "lw": 1.2} if method else {"ms": 6, "lw": 2.2, "zorder": 3}
    curve_over_seeds(ax, x, accuracy, color=colour, marker=marker, label=label, **style)


def certainty(arrays: Seeds) -> Figure:
    """Draw stated probabilities against fractions, and against how often they are right."""
    figure, axes = new_figure(1, 2, PAGE_WIDTH, 3.2, width_ratios=(3, 2))
    with house_style():
        draw_probabilities(axes[0, 0], lowest(arrays))
        legend_above_panels(figure, axes[0, 0], "upper left")
        probability = np.concatenate([of_seed["class_probability"] for of_seed in arrays.values()])
        label = np.concatenate([of_seed["class_label"] for of_seed in arrays.values()])
        draw_reliability(axes[0, 1], probability, label)
    return figure


def draw_probabilities(ax: Axes, shown: Arrays) -> None:
    """Draw the probability of diffuse against the fraction, filled marks where it is wrong."""
    probability, fraction = shown["class_probability"], shown["class_fraction"]
    is_wrong = (probability > 0.5) != shown["class_label"]
    for label, (name, (colour, marker)) in enumerate(CLASSES.items()):
        style = {"color": colour, "ms": 3.5, "mew": 0.7, "rasterized": True}
        for answer, fill, is_answer in (("right", "none", ~is_wrong), ("wrong", colour, is_wrong)):
            taken = is_answer & (shown["class_label"] == label)
            marks = ax.plot(fraction[taken], probability[taken], marker, mfc=fill, **style)
            marks[0].set_label(f"{name}, {answer}")
    ax.axhline(0.5, color=MUTED, lw=0.8)
    ax.set(xlabel="step depth or Ti share [1]", ylabel="probability of diffuse")
    ax.set_ylim(-0.03, 1.03)


def draw_reliability(ax: Axes, probability: np.ndarray, label: np.ndarray) -> None:
    """Draw how often answers of a stated probability are right, with their number.

    Parameters
    ----------
    ax : Axes
        Where to.
    probability : numpy.ndarray
        Of the class diffuse, ``(n,)``.
    label : numpy.ndarray
        1 for diffuse, 0 for rough, ``(n,)``.
    """
    stated, is_right = np.maximum(probability, 1 - probability), (probability > 0.5) == label
    places = ((2 * stated - 1) * N_BINS_OF_CONFIDENCE).astype(int)
    places = np.minimum(places, N_BINS_OF_CONFIDENCE - 1)
    ax.plot([0.5, 1], [0.5, 1], color=MUTED, lw=0.8)
    taken = [places == place for place in np.unique(places)]
    points = [(stated[t].mean(), is_right[t].mean()) for t in taken]
    ax.plot(*np.transpose(points), "o-", color=BLUE)
    beside = {"xytext": (-4, 5), "textcoords": "offset points", "ha": "right", "fontsize": 8}
    for point, t in zip(points, taken, strict=True):
        ax.annotate(f"{t.sum()}", point, **beside)
    ax.set(xlabel="stated probability of the answer", ylabel="share right")
    ax.margins(0.1)


def regression(arrays: Seeds) -> Figure:
    """Draw the step position found as a number against the true one."""
    true, found = (of_all_seeds(arrays, f"step_fraction_{name}") for name in ("true", "found"))
    rmse = np.sqrt(np.mean((found - true) ** 2, axis=1))
    figure, axes = new_figure()
    ax = axes[0, 0]
    shown = list(arrays).index(min(arrays))
    with house_style():
        marks = {"ms": 4, "mfc": "none", "mew": 0.8}
        predicted_against_true(ax, true[shown], found[shown], (0, 1), **marks)
        text = mean_and_range("RMSE", rmse, 3, separator="\n")
        ax.text(0.04, 0.95, text, va="top", transform=ax.transAxes)
        ax.set(xlabel="true step position [share of the thickness]", ylabel="found")
    return figure


# What draws a figure, and how the names of the arrays begin that it takes.
FIGURES: Drawings = {
    "structures": (structures, ("step_exchanged", "mixed_exchanged", "thicknesses")),
    "intensity": (intensity, ("step_image", "mixed_image", "probe_x", "probe_y")),
    "patterns": (patterns, ("step_line", "mixed_line", "probe_x", "k")),
    "class_confusion": (class_confusion, ("class_confusion",)),
    "step_confusion": (step_confusion, ("step_confusion_",)),
    "accuracy_dose": (accuracy_dose, ("class_accuracy", "step_accuracy", "doses")),
    "accuracy_thickness": (
        accuracy_thickness,
        ("class_accuracy", "step_accuracy", "doses", "thicknesses"),
    ),
    "certainty": (certainty, ("class_probability", "class_fraction", "class_label")),
    "regression": (regression, ("step_fraction_true", "step_fraction_found")),
}
