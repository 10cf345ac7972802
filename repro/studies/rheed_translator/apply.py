"""The Sr content of a user's own images: a folder of them, one of them, a stack or an archive."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from repro.display import Progress
from repro.errors import ReproError
from repro.reporting.figures import BLUE, GRID, ORANGE, PAGE_WIDTH, house_style, new_figure
from repro.studies.rheed_translator.data.archive import ARCHIVE, read_images
from repro.studies.rheed_translator.page.predict import DEMONSTRATION, SIMULATED, Translator
from repro.studies.rheed_translator.page.readings import Row, read_row
from repro.studies.rheed_translator.page.trained import translator_of
from repro.studies.rheed_translator.page.uploads import (
    Upload,
    names_of_images,
    read_stack,
    upload_of,
)
from repro.study import Applied, Quantity, Trained

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_NAMES, LONGEST_NAME = 12, 24  # of images along the axis of a picture; beyond, numbers
UNKNOWN, LINEAR = RESPONSES = ("unknown", "linear")  # of a camera and the programs after it
MARGIN = 3  # above and below the points of a picture [at.%]
CAPTION = (
    "Sr content of each image with its interval. Shaded: the range of the training films. "
    "Open circles: images in doubt, whose numbers and intervals mean little; their intervals may "
    "be cut off."
)

Images = list[tuple[str, Callable[[], Upload]]]


def apply(trained: Trained, source: Path, progress: Progress, response: str = UNKNOWN) -> Applied:
    """Read the Sr content of images.

    Parameters
    ----------
    trained : Trained
        A run of the variant improved.
    source : Path
        A folder, whose files are read in the order of their names; or a file: png, jpg, tif with
        one image or several, npy of ``(height, width)`` or ``(n, height, width)``, or an ``.npz``
        of the published form, with Sr contents or without.
    progress : callable
        Is told how many files of a folder are read, or images of a file.
    response : str
        ``"linear"`` if pictures of 8 bits, too, are proportional to the intensity; by default they
        may have been curved for the eye, and their intervals are wider.

    Raises
    ------
    ReproError
        If the run is of another variant, there is no such response, or no image can be read.
    """
    if response not in RESPONSES:
        raise ReproError(f"There is no response {response}: give {' or '.join(RESPONSES)}.")
    translator = translator_of(trained)
    rows = _rows_of_folder if source.is_dir() else _rows_of_file
    return applied(translator, rows(translator, source, response == LINEAR, progress), source)


def applied(translator: Translator, rows: list[Row], source: Path) -> Applied:
    """Return rows as quantities with their picture.

    Raises
    ------
    ReproError
        If nothing could be read in any of them.
    """
    failed = [row for row in rows if row.reading is None]
    if len(failed) == len(rows):
        raise ReproError(_nothing_read(failed, source))
    notices = (
        *([f"{SIMULATED} {DEMONSTRATION}"] if translator.is_synthetic else []),
        *(row.error for row in failed),
        *_warnings(rows),
    )
    picture = sr_content(translator, rows)
    return Applied(_quantities(translator, rows), {"sr_content": (picture, CAPTION)}, notices)


def sr_content(translator: Translator, rows: list[Row]) -> Figure:
    """Draw the Sr content of every image that was read, with its interval."""
    figure, axes = new_figure(width=PAGE_WIDTH)
    ax = axes[0, 0]
    content, low, high = (_numbers(rows, name) for name in ("stoichiometry", "low", "high"))
    in_doubt = np.array([row.reading is not None and row.reading.is_doubtful for row in rows])
    trusted = np.concatenate([low[~in_doubt], high[~in_doubt]])
    shown = [translator.lowest, translator.highest, *content, *trusted]
    with house_style():
        lowest, highest = translator.lowest, translator.highest
        ax.axhspan(lowest, highest, color=GRID, zorder=0, label="training films")
        for group, style in (
            (~in_doubt, {"color": BLUE, "label": "images"}),
            (in_doubt, {"color": ORANGE, "label": "in doubt", "mfc": "none"}),
        ):
            group = group & np.isfinite(content)
            if group.any():
                at, bars = 1 + np.flatnonzero(group), np.stack([content - low, high - content])
                ax.errorbar(at, content[group], bars[:, group], fmt="o", ms=5, lw=1.2, **style)
        ax.set(xlim=(0.5, len(rows) + 0.5), ylabel="Sr content [at.%]")
        ax.set_ylim(np.nanmin(shown) - MARGIN, np.nanmax(shown) + MARGIN)
        _name_images(ax, [row.name for row in rows])
        figure.legend(loc="outside upper center", ncols=3)
    return figure


def _rows_of_folder(
    translator: Translator, folder: Path, is_linear: bool, progress: Progress
) -> list[Row]:
    files = sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    rows: list[Row] = []
    for done, path in enumerate(files, start=1):
        rows += _rows_of_file(translator, path, is_linear, lambda *_: None)
        progress(done, len(files))
    return rows


def _rows_of_file(
    translator: Translator, path: Path, is_linear: bool, progress: Progress
) -> list[Row]:
    try:
        images = _images_of(path)
    except ReproError as error:
        return [Row(path.name, error=str(error))]
    rows = []
    for name, load in images:
        rows.append(read_row(translator, name, load, is_linear))
        progress(len(rows), len(images))
    return rows


def _images_of(path: Path) -> Images:
    """Return the name of every image of a file, and what to call to read it."""
    if path.suffix.lower() == ARCHIVE.suffix:
        patterns = read_images(path)
        names = names_of_images(path.name, len(patterns))
        return [
            (name, partial(upload_of, name, image))
            for name, image in zip(names, patterns, strict=True)
        ]
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ReproError(f"{path.name} cannot be read ({error.strerror}).") from None
    return read_stack(path.name, content)


def _nothing_read(failed: list[Row], source: Path) -> str:
    if not failed:
        return f"{source} holds no file: give a folder of images, or one file."
    if len(failed) == 1:
        return failed[0].error
    return f"None of the {len(failed)} images of {source} can be read; the first: {failed[0].error}"


def _warnings(rows: list[Row]) -> list[str]:
    """Say of how many images the number means little."""
    read = [row.reading for row in rows if row.reading is not None]
    n_doubtful = sum(reading.is_doubtful for reading in read)
    n_curved = sum(not reading.is_linear for reading in read)
    warnings = []
    if n_doubtful:
        warnings.append(
            f"{n_doubtful} of {len(read)} numbers are in doubt, and their intervals with them: the "
            "remarks say why."
        )
    if n_curved:
        warnings.append(
            f"The intervals of {n_curved} of {len(read)} images allow for pictures curved for the "
            "eye; if theirs are proportional to the intensity, give --set response=linear."
        )
    return warnings


def _quantities(translator: Translator, rows: list[Row]) -> dict[str, Quantity]:
    doubtful = ["" if row.reading is None else _yes_or_no(row.reading.is_doubtful) for row in rows]
    remarks = [row.error or row.remark for row in rows]
    return {
        "image": Quantity(np.array([row.name for row in rows]), "", "Which image."),
        "Sr content": Quantity(
            _numbers(rows, "stoichiometry"),
            "at.%",
            "Sr content of the cations; 50 is stoichiometric SrTiO3.",
            interval=(_numbers(rows, "low"), _numbers(rows, "high")),
            level=translator.level,
        ),
        "unlikeness": Quantity(
            _numbers(rows, "unlikeness"), "1", "How far the image is from the training films."
        ),
        "in doubt": Quantity(
            np.array(doubtful), "", "Whether something speaks against the number."
        ),
        "remark": Quantity(
            np.array(remarks),
            "",
            "Why it is in doubt, what was done to the file's numbers, or why it was not read.",
        ),
    }


def _numbers(rows: list[Row], name: str) -> np.ndarray:
    """Return a number of every reading, NaN where nothing was read, ``(n,)`` float32."""
    values = [np.nan if row.reading is None else vars(row.reading)[name] for row in rows]
    return np.array(values, dtype=np.float32)


def _yes_or_no(is_so: bool) -> str:
    return "yes" if is_so else "no"


def _name_images(ax: Axes, names: list[str]) -> None:
    if len(names) > MOST_NAMES or max(map(len, names)) > LONGEST_NAME:
        ax.set_xlabel("image")
        ax.locator_params(axis="x", integer=True)
    else:
        ax.set_xticks(range(1, len(names) + 1), names, rotation=30, ha="right")
