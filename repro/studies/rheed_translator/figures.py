"""The figures of `rheed_translator`: what comes out of the four paths for films never seen.

Drawn from the arrays that `evaluate` returns. Images and codes are those of the lowest seed;
readings of Sr content are those of all seeds.
"""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from repro.imaging.geometry import resized
from repro.reporting.figures import (
    BLUE,
    COLUMN_WIDTH,
    GREEN,
    INK,
    MUTED,
    ORANGE,
    PAGE_WIDTH,
    RED,
    house_style,
    new_figure,
)
from repro.reporting.panels import (
    Arrays,
    Drawings,
    Seeds,
    colours_below,
    drawable,
    image,
    intensity_scale,
    legend_above,
    lowest,
    mean_and_range,
    of_all_seeds,
    signed_scale,
)

CAPTIONS = {
    "paths": (
        "The four paths for films that the answering network never saw, spread over the range of "
        "Sr content; lowest seed. Images: true, drawn from the image, drawn from the Sr content "
        "alone. Beside them the Sr content: true, read from the image (in brackets the 90 % "
        "interval, where the variant states one), and what becomes of the true value through the "
        "code. Held out: a training film, asked of a network that learnt from others; test: a "
        "film of the test split, asked of the network of all training films. One colour scale for "
        "all images, in steps of the square root, which brings out weak streaks; the brightest "
        "0.5 % of the true pixels look alike."
    ),
    "latent": (
        "The shared code of the films that the network learnt from, by where it comes from: image "
        "or Sr content; lowest seed. Shown along the two directions in which both kinds of code "
        "together vary most; a line joins the two codes of a film. Short lines: the two "
        "modalities say the same of a film."
    ),
    "predicted_against_true": (
        "Sr content read from images of films that the answering network never saw, against the "
        "true one: every film and every seed, bars for the 90 % intervals where the variant states "
        "them. MAE: mean over seeds, in brackets its range. Line: read as it is; filled triangles "
        "at the edge: readings beyond it. A panel on the right, where there is one: the gated CNN "
        "of Harris et al. on the films held out from it."
    ),
    "sweep": (
        "Top: patterns generated from Sr content alone, from the lowest to the highest of the "
        "training films; lowest seed. Below each the training film nearest in Sr content, which "
        "the network has seen. One colour scale, in steps of the square root, which brings out "
        "weak streaks; the brightest 0.5 % of the films' pixels look alike."
    ),
    "worst": (
        "The worst cases: of the films that the answering network never saw, those whose Sr "
        "content it misreads most, worst first; lowest seed. Image, image drawn from it, and the "
        "difference, drawn minus true. One colour scale for all images, in steps of the square "
        "root, and one for all differences; the most extreme 0.5 % look alike. Held out and test "
        "as in the figure of the four paths."
    ),
}

# How the arrays of a kind of unseen films begin; its name, colour and marker.
UNSEEN = {"held_out": ("held out", BLUE, "o"), "test": ("test", ORANGE, "s")}
GATED = ("held out", GREEN, "D")
FIELDS = ("true", "found", "echoed", "low", "high", "images", "reconstructed", "drawn")
MODALITIES = {"image": ("code of the image", "o"), "stoichiometry": ("code of the Sr content", "D")}
N_FILMS_SHOWN = 4
N_WORST = 4
N_GENERATED = 5
ROW_HEIGHT = 1.25  # of a figure of images [inch]
INTENSITY = "intensity [share of full scale]"
LINE_HEIGHTS = (0.71, 0.54, 0.37, 0.20)  # of what is written beside an image, in its heights
SMALL = {"fontsize": 9, "fontweight": "normal"}


def figures(arrays: Seeds) -> dict[str, Figure]:
    """Draw every figure whose arrays there are, by name; synthetic films are named so in each."""
    arrays = {seed: of_seed | unseen(of_seed) for seed, of_seed in arrays.items()}
    drawn = drawable(FIGURES, arrays)
    if lowest(arrays).get("is_synthetic", False):
        for figure in drawn.values():
            mark_as_synthetic(figure)
    return drawn


def mark_as_synthetic(figure: Figure) -> None:
    """Say above all panels that the films are no measured ones."""
    with house_style():
        figure.suptitle("SYNTHETIC films", color=RED, fontsize=10, weight="bold")


def unseen(arrays: Arrays) -> Arrays:
    """Return the arrays of all films that the answering network never saw, held out ones first.

    Names begin with ``unseen_``; ``unseen_kind`` says of each film how it comes to be unseen.
    """
    kinds = [kind for kind in UNSEEN if f"{kind}_true" in arrays]
    if not kinds:
        return {}
    counts = [len(arrays[f"{kind}_true"]) for kind in kinds]
    found = {"unseen_kind": np.repeat([UNSEEN[kind][0] for kind in kinds], counts)}
    for field in FIELDS:
        names = [f"{kind}_{field}" for kind in kinds]
        if all(name in arrays for name in names):
            found[f"unseen_{field}"] = np.concatenate([arrays[name] for name in names])
    return found


# ---- images


def paths(arrays: Seeds) -> Figure:
    """Draw what the four paths make of a few unseen films, a film a row."""
    shown = lowest(arrays)
    films = spread(shown["unseen_true"], N_FILMS_SHOWN)
    titles = {"images": "true image", "reconstructed": "image → image", "drawn": "Sr → image"}
    scale = intensity_scale(shown["unseen_images"][films])
    figure, axes = image_panels(len(films), len(titles))
    with house_style():
        for row, film in zip(axes, films, strict=True):
            for ax, field in zip(row, titles, strict=True):
                drawn = image(ax, shown[f"unseen_{field}"][film], **scale)
            write_beside(row[-1], contents_by_path(shown, film))
        head_columns(axes[0], *titles.values())
        colours_below(figure, axes, drawn, label=INTENSITY, extend="max")
    return figure


def spread(contents: np.ndarray, n: int) -> np.ndarray:
    """Return the films nearest to Sr contents at equal distances, lowest first.

    Parameters
    ----------
    contents : numpy.ndarray
        Sr content of all films, ``(n_films,)`` [at.%].
    n : int
        How many at most; a film that is nearest to several is taken once.

    Returns
    -------
    numpy.ndarray
        Which films, ``(n,)`` int or fewer.
    """
    asked = np.linspace(contents.min(), contents.max(), n)
    nearest = np.abs(contents[None] - asked[:, None]).argmin(axis=1)
    return nearest[np.sort(np.unique(nearest, return_index=True)[1])]


def contents_by_path(shown: Arrays, film: int) -> dict[str, str]:
    """Return the Sr content of an unseen film, true and by the two paths to it, in words."""
    true, found, echoed, low, high = (
        shown[f"unseen_{field}"][film] for field in ("true", "found", "echoed", "low", "high")
    )
    interval = "" if np.isnan(low) else f" ({low:.1f} to {high:.1f})"
    return {
        "true": f"{true:.1f}",
        "image → Sr": f"{found:.1f}{interval}",
        "Sr → Sr": f"{echoed:.1f}",
        "film": shown["unseen_kind"][film],
    }


def sweep(arrays: Seeds) -> Figure:
    """Draw patterns generated from Sr content above the nearest films."""
    shown = lowest(arrays)
    rows = {"sweep_drawn": "generated", "sweep_nearest": "nearest film"}
    contents = {"sweep_drawn": "sweep_content", "sweep_nearest": "sweep_nearest_content"}
    last = len(shown["sweep_content"]) - 1
    places = np.unique(np.linspace(0, last, N_GENERATED).round().astype(int))
    scale = intensity_scale(shown["sweep_nearest"][places])
    figure, axes = image_panels(len(rows), len(places))
    with house_style():
        for row, (name, label) in zip(axes, rows.items(), strict=True):
            for ax, place in zip(row, places, strict=True):
                drawn = image(ax, shown[name][place], **scale)
                ax.set_title(f"{shown[contents[name]][place]:.1f} at.%", **SMALL)
            row[0].set_ylabel(label)
        colours_below(figure, axes, drawn, label=INTENSITY, extend="max")
    return figure


def worst(arrays: Seeds) -> Figure:
    """Draw the unseen films whose Sr content is misread most, a film a row, worst first."""
    shown = lowest(arrays)
    errors = shown["unseen_found"] - shown["unseen_true"]
    films = np.argsort(-np.abs(errors), kind="stable")[:N_WORST]
    images = shown["unseen_images"][films].astype(float)
    drawn = resized(shown["unseen_reconstructed"][films], *images.shape[1:])
    scale, signed = intensity_scale(images), signed_scale(drawn - images)
    figure, axes = image_panels(len(films), 3)
    with house_style():
        for row, film, true, found in zip(axes, films, images, drawn, strict=True):
            image(row[0], true, **scale)
            intensity = image(row[1], found, **scale)
            difference = image(row[2], found - true, **signed)
            write_beside(row[-1], error_of_content(shown, film))
        head_columns(axes[0], "true image", "image → image", "difference")
        colours_below(figure, axes[:, :2], intensity, label=INTENSITY, extend="max")
        colours_below(figure, axes[:, 2], difference, label="drawn − true", extend="both")
    return figure


def error_of_content(shown: Arrays, film: int) -> dict[str, str]:
    """Return the Sr content of an unseen film, as it is read, and by how much that errs."""
    true, found = shown["unseen_true"][film], shown["unseen_found"][film]
    return {
        "true": f"{true:.1f}",
        "image → Sr": f"{found:.1f}",
        "error": f"{found - true:+.1f}".replace("-", "−"),
        "film": shown["unseen_kind"][film],
    }


def image_panels(n_rows: int, n_columns: int) -> tuple[Figure, np.ndarray]:
    """Return a figure of images with space below for the scale, and its axes."""
    figure, axes = new_figure(n_rows, n_columns, PAGE_WIDTH, 1.0 + ROW_HEIGHT * n_rows)
    figure.set_layout_engine("compressed")
    return figure, axes


def write_beside(ax: Axes, lines: dict[str, str]) -> None:
    """Write names and what they stand for to the right of a panel, in two columns."""
    style = {"transform": ax.transAxes, "va": "baseline", "fontsize": 8.5}
    for height, (name, value) in zip(LINE_HEIGHTS, lines.items(), strict=True):
        ax.text(1.06, height, name, color=MUTED, **style)
        ax.text(1.55, height, value, **style)


def head_columns(row: np.ndarray, *titles: str) -> None:
    """Write above a first row what its panels show, and the unit of what stands beside them."""
    for ax, title in zip(row, titles, strict=True):
        ax.set_title(title)
    row[-1].text(1.06, 1.06, "Sr content [at.%]", transform=row[-1].transAxes, fontsize=9)


# ---- codes and Sr content


def latent(arrays: Seeds) -> Figure:
    """Draw the codes of the training films by modality, along their principal axes."""
    shown = lowest(arrays)
    codes = {name: shown[f"code_{name}"] for name in MODALITIES}
    contents = shown["code_content"]
    points, shares = principal(np.stack([*codes.values()]), contents)
    figure, axes = new_figure(width=PAGE_WIDTH, height=4.0)
    ax = axes[0, 0]
    with house_style():
        ax.plot(*points.transpose(2, 0, 1), color=MUTED, lw=0.6, zorder=1)
        for of_modality, (label, marker) in zip(points, MODALITIES.values(), strict=True):
            style = {"marker": marker, "s": 34, "edgecolors": INK, "linewidths": 0.6}
            drawn = ax.scatter(*of_modality.T, c=contents, cmap="cividis", label=label, **style)
        first, second = (f"principal axis, {100 * share:.0f} % of the variance" for share in shares)
        ax.set(xlabel=f"first {first}", ylabel=f"second {second}")
        figure.colorbar(drawn, ax=ax, label="Sr content [at.%]")
        legend_above(ax, n_columns=2)
    return figure


def principal(codes: np.ndarray, contents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return codes along the two directions in which all of them together vary most.

    Parameters
    ----------
    codes : numpy.ndarray
        ``(n_modalities, n_films, n_code)``.
    contents : numpy.ndarray
        Sr content, ``(n_films,)`` [at.%]; it grows along both directions.

    Returns
    -------
    points : numpy.ndarray
        ``(n_modalities, n_films, 2)``.
    shares : numpy.ndarray
        Share of the variance along each direction, ``(2,)``.
    """
    centred = codes - codes.mean(axis=(0, 1))
    _, lengths, directions = np.linalg.svd(centred.reshape(-1, codes.shape[-1]).astype(float))
    points = centred @ directions[:2].T
    growth = (points * (contents - contents.mean())[:, None]).sum(axis=(0, 1))
    variance = np.square(lengths)
    shares = variance[:2] / max(variance.sum(), np.finfo(float).tiny)
    return points * np.where(growth < 0, -1, 1), shares


def predicted_against_true(arrays: Seeds) -> Figure:
    """Draw Sr content read from images of unseen films against the true one, every seed."""
    known, kinds = lowest(arrays), {**UNSEEN, "gated": GATED}
    present = [kind for kind in kinds if f"{kind}_found" in known]
    panels = {"network": [kind for kind in present if kind in UNSEEN]}
    panels |= {"gated CNN": ["gated"]} if "gated" in present else {}
    x_range, y_range = ranges(arrays, present)
    width = PAGE_WIDTH if len(panels) > 1 else COLUMN_WIDTH
    figure, axes = new_figure(1, len(panels), width, 4.0, sharex=True, sharey=True)
    with house_style():
        for ax, (title, of_panel) in zip(axes[0], panels.items(), strict=True):
            ax.set(xlim=x_range, ylim=y_range, xlabel="true Sr content [at.%]")
            ax.plot(x_range, x_range, color=MUTED, lw=0.8)
            for kind in of_panel:
                draw_readings(ax, arrays, kind, kinds[kind])
            n_seeds = f"{len(arrays)} seed{'s' if len(arrays) > 1 else ''}"
            legend_above(ax, f"{title}, {n_seeds}")
        axes[0, 0].set_ylabel("read from the image [at.%]")
    return figure


def ranges(arrays: Seeds, kinds: list[str]) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the ranges of true and of read Sr content to show [at.%].

    The latter goes beyond the former by no more than its width; otherwise a few wild readings
    would make all others look alike.
    """
    true = pooled(arrays, kinds, ("true",))
    read = pooled(arrays, kinds, ("found", "low", "high"))
    low, high = true.min(), true.max()
    width = max(high - low, 1.0)
    margin = 0.05 * width
    lowest_read = np.clip(np.nanmin(read), low - width, low)
    highest_read = np.clip(np.nanmax(read), high, high + width)
    return (low - margin, high + margin), (lowest_read - margin, highest_read + margin)


def pooled(arrays: Seeds, kinds: list[str], fields: tuple[str, ...]) -> np.ndarray:
    """Return all values of those fields that there are, of every seed and kind, ``(n,)``."""
    names = [f"{kind}_{field}" for kind in kinds for field in fields]
    known = lowest(arrays)
    return np.concatenate([of_all_seeds(arrays, n).ravel() for n in names if n in known])


def draw_readings(ax: Axes, arrays: Seeds, kind: str, style: tuple[str, str, str]) -> None:
    """Draw the readings of a kind of films, with intervals; those out of sight at the edge.

    Parameters
    ----------
    ax : Axes
        Where to; its limits are set.
    arrays : dict
        Arrays by name, for every seed.
    kind : str
        How the names of the arrays begin.
    style : tuple of str
        What the films are called, colour and marker.
    """
    name, colour, marker = style
    true, found = (of_all_seeds(arrays, f"{kind}_{field}") for field in ("true", "found"))
    low, high = ax.get_ylim()
    if np.isfinite(lowest(arrays).get(f"{kind}_low", np.nan)).all():
        ends = (of_all_seeds(arrays, f"{kind}_{end}").ravel() for end in ("low", "high"))
        ax.vlines(true.ravel(), *ends, color=colour, lw=0.9, alpha=0.4)
    mae = np.abs(found - true).mean(axis=1)
    label = f"{name}: {mean_and_range('MAE', mae, 2, 'at.%')}"
    seen = (low <= found) & (found <= high)
    ax.plot(true[seen], found[seen], marker, color=colour, ms=4.5, mfc="none", mew=1, label=label)
    for beyond, edge, triangle in ((found < low, low, "v"), (found > high, high, "^")):
        if beyond.any():  # marks that are not clipped take space even where there are none
            at_edge = np.full(beyond.sum(), edge)
            ax.plot(true[beyond], at_edge, triangle, color=colour, ms=5, clip_on=False)


# What draws a figure, and the arrays that it takes.
FIGURES: Drawings = {
    "paths": (paths, tuple(f"unseen_{field}" for field in FIELDS)),
    "latent": (latent, ("code_image", "code_stoichiometry", "code_content")),
    "predicted_against_true": (predicted_against_true, ("unseen_true", "unseen_found")),
    "sweep": (
        sweep,
        ("sweep_content", "sweep_drawn", "sweep_nearest", "sweep_nearest_content"),
    ),
    "worst": (worst, tuple(f"unseen_{f}" for f in ("true", "found", "images", "reconstructed"))),
}
