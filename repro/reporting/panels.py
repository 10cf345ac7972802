"""What the figures of several studies draw alike: colours, images, panels, legends.

Figures are drawn from the arrays that an evaluation keeps, by name, for every seed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, PowerNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator

from repro.reporting.figures import BLUE, INK, MUTED, ORANGE

Arrays = dict[str, np.ndarray]
Seeds = dict[int, Arrays]
Drawings = Mapping[str, tuple[Callable[[Seeds], Figure], Sequence[str]]]

N_COLOURS = 64  # of noisy images: fewer than 256 pack better, and no one sees it
INTENSITIES = colormaps["cividis"].resampled(N_COLOURS)
DIFFERENCES = LinearSegmentedColormap.from_list("signed", [BLUE, "white", ORANGE], N_COLOURS)
SHARES = LinearSegmentedColormap.from_list("shares", ["white", BLUE])
CLIPPED = 0.995  # share of the values within an image's colour scale, against outliers


# ---- arrays of every seed


def drawable(drawings: Drawings, arrays: Seeds) -> dict[str, Figure]:
    """Draw every figure whose arrays there are, by name.

    Parameters
    ----------
    drawings : mapping
        By the figure's name: what draws it, and how the names of the arrays begin that it takes.
    arrays : dict
        Arrays by name, for every seed.
    """
    known = lowest(arrays)
    return {
        name: draw(arrays)
        for name, (draw, needed) in drawings.items()
        if all(any(array.startswith(begin) for array in known) for begin in needed)
    }


def lowest(arrays: Seeds) -> Arrays:
    """Return the arrays of the lowest seed."""
    return arrays[min(arrays)]


def of_all_seeds(arrays: Seeds, name: str) -> np.ndarray:
    """Return an array of every seed, ``(n_seeds, ...)``."""
    return np.stack([of_seed[name] for of_seed in arrays.values()])


def mean_and_range(
    name: str, values: np.ndarray, digits: int, unit: str = "", separator: str = " "
) -> str:
    """Return the mean over seeds in words, and from two seeds on its range in brackets.

    Parameters
    ----------
    name : str
        What it is, such as ``"MAE"``.
    values : numpy.ndarray
        One a seed, ``(n_seeds,)``.
    digits : int
        Decimals.
    unit : str
        Written behind the mean.
    separator : str
        Between mean and range.
    """
    low, mean, high = (f"{v:.{digits}f}" for v in (values.min(), values.mean(), values.max()))
    text = f"{name} {mean} {unit}".rstrip()
    return text if len(values) == 1 else f"{text}{separator}({low} to {high})"


# ---- images


def image(ax: Axes, pixels: np.ndarray, **scale) -> AxesImage:
    """Draw an image without axes, a pixel for a pixel of the array.

    Parameters
    ----------
    ax : Axes
        Where to.
    pixels : numpy.ndarray
        ``(height, width)``.
    **scale
        Colours, as `intensity_scale` and `signed_scale` return them.
    """
    ax.set(xticks=[], yticks=[])
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    return ax.imshow(pixels.astype(float), interpolation="none", **scale)


def intensity_scale(images: np.ndarray) -> dict:
    """Return the colours of intensities: square roots, on the scale of these images."""
    largest = np.quantile(images.astype(float), CLIPPED)
    return {"cmap": INTENSITIES, "norm": PowerNorm(0.5, 0, largest)}


def signed_scale(differences: np.ndarray, clipped: float = CLIPPED) -> dict:
    """Return the colours of differences, on a scale that is alike on both sides of 0.

    Parameters
    ----------
    differences : numpy.ndarray
        Of any shape.
    clipped : float
        Share of them within the scale [1].
    """
    largest = np.quantile(np.abs(differences), clipped)
    return {"cmap": DIFFERENCES, "vmin": -largest, "vmax": largest}


def colours_below(figure: Figure, axes: np.ndarray, drawn: AxesImage, **options) -> None:
    """Explain the colours of panels below them; options as `Figure.colorbar` takes them."""
    place = {"location": "bottom", "aspect": 40, "pad": 0.03, "ticks": MaxNLocator(4)}
    figure.colorbar(drawn, ax=axes, **{**place, **options})


# ---- numbers


def predicted_against_true(
    ax: Axes,
    true: np.ndarray,
    found: np.ndarray,
    ends: tuple[float, float] | None = None,
    marker: str = "o",
    **style,
) -> None:
    """Draw found values against true ones, with the line on which they agree.

    Parameters
    ----------
    ax : Axes
        Where to.
    true, found : numpy.ndarray
        ``(n,)`` each; values that are not known are left out.
    ends : tuple of float, optional
        Ends of the line; by default those of the true values.
    marker : str
        Of a point.
    **style
        Of the points, as `Axes.plot` takes it.
    """
    ends = ends or (np.nanmin(true), np.nanmax(true))
    ax.plot(ends, ends, color=MUTED, lw=0.8)
    ax.plot(true, found, marker, **{"color": BLUE, **style})


def confusion(ax: Axes, counts: np.ndarray, fontsize: float, shares: bool = False) -> None:
    """Draw a confusion matrix, rows true, with the counts that are not 0.

    Parameters
    ----------
    ax : Axes
        Where to.
    counts : numpy.ndarray
        ``(n_classes, n_classes)`` int.
    fontsize : float
        Of the counts [points].
    shares : bool
        Write the shares of the rows below the counts.
    """
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    ax.imshow(share, cmap=SHARES, vmin=0, vmax=1, interpolation="nearest")
    style: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": fontsize}
    for row, column in np.argwhere(counts):
        text = f"{counts[row, column]}" + (f"\n{share[row, column]:.1%}" if shares else "")
        ax.text(column, row, text, color="white" if share[row, column] > 0.5 else INK, **style)
    ax.grid(visible=False)
    ax.spines[:].set_visible(True)


def curve_over_seeds(ax: Axes, x: np.ndarray, values: np.ndarray, **style) -> None:
    """Draw the mean over seeds with bars from the lowest to the highest.

    Parameters
    ----------
    ax : Axes
        Where to.
    x : numpy.ndarray
        ``(n,)``.
    values : numpy.ndarray
        ``(n_seeds, n)``.
    **style
        As `Axes.errorbar` takes it.
    """
    mean = values.mean(axis=0)
    # The mean of equal numbers may differ from them in its last digit.
    spread = np.maximum([mean - values.min(axis=0), values.max(axis=0) - mean], 0)
    ax.errorbar(x, mean, spread, **style)


# ---- legends


def legend_above_panels(figure: Figure, ax: Axes, location: str, last: Sequence[str] = ()) -> None:
    """Explain the marks of a panel above all panels, each once.

    Parameters
    ----------
    figure : Figure
        Whose panels.
    ax : Axes
        The panel with the marks.
    location : str
        Such as ``"upper left"``.
    last : sequence of str
        Labels that come last.
    """
    handles, labels = ax.get_legend_handles_labels()
    marks = dict(zip(labels, handles, strict=True))
    names = sorted(marks, key=tuple(last).count)
    place: dict[str, Any] = {"loc": f"outside {location}", "ncols": 4}
    figure.legend([marks[name] for name in names], names, **place)


def legend_above(ax: Axes, title: str | None = None, n_columns: int = 1) -> None:
    """Put a panel's legend above it, where it hides nothing."""
    place: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (-0.02, 1), "alignment": "left"}
    legend = ax.legend(**place, title=title, ncols=n_columns)
    legend.get_title().set(fontweight="bold", fontsize=10.5)
