"""A trained run used on a user's own file."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from repro.display import SILENT, Display
from repro.errors import ReproError
from repro.files import make_folder, replacing
from repro.runs.run import Run
from repro.study import Applied, Quantity

SUFFIXES = (".csv", ".h5")


def apply(
    run: Run, source: Path, out: Path, seed: int | None = None, display: Display = SILENT
) -> list[Path]:
    """Ask a trained run about a user's file, and write what it says.

    Parameters
    ----------
    run : Run
        The trained run.
    source : Path
        The user's file or folder.
    out : Path
        A table, ``.csv``, or maps, ``.h5``; pictures go beside it, as ``NAME_PICTURE.svg``. Never
        overwritten.
    seed : int, optional
        Which of the run's seeds answers; by default the lowest.
    display : Display
        Where progress and notices go.

    Returns
    -------
    list of Path
        What was written, the table or maps first.

    Raises
    ------
    ReproError
        If the study cannot do this, the file is not as it takes it, or ``out`` exists or has
        another suffix.
    """
    ask = run.study.provided("apply")
    if out.suffix not in SUFFIXES:
        raise ReproError(f"{out}: give a name that ends in {' or '.join(SUFFIXES)}.")
    if not source.exists():
        raise ReproError(f"There is no file or folder {source}.")
    _refuse_existing(out)
    with display.bar(f"apply {run.study.name}") as progress:
        found: Applied = ask(run.trained(run.seeds[0] if seed is None else seed), source, progress)
    for notice in found.notices:
        display.announce(notice)
    make_folder(out.parent)
    write = write_table if out.suffix == ".csv" else write_maps
    write(found.quantities, out)
    return [out, *_write_figures(found, out)]


def write_table(quantities: dict[str, Quantity], out: Path) -> None:
    """Write quantities as a CSV table, a row an input; units stand in the header.

    Raises
    ------
    ReproError
        If they are maps and not one number an input.
    """
    columns = dict(_columns(quantities))
    if any(values.ndim != 1 for values in columns.values()):
        raise ReproError("These results are maps: give --out a name that ends in .h5.")
    with replacing(out) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(columns)
        table.writerows(zip(*(values.tolist() for values in columns.values()), strict=True))


def write_maps(quantities: dict[str, Quantity], out: Path) -> None:
    """Write quantities as HDF5 data sets with the attributes ``unit`` and ``description``."""
    with replacing(out) as partial, h5py.File(partial, "w") as file:
        for name, quantity in quantities.items():
            _write_map(file, name, quantity.values, quantity.unit, quantity.about)
            if quantity.interval is not None:
                for end, values in zip(("low", "high"), quantity.interval, strict=True):
                    about = f"{end} end of the {quantity.level:.0%} interval of {name}"
                    _write_map(file, f"{name}_{end}", values, quantity.unit, about)


def _columns(quantities: dict[str, Quantity]) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the columns of a table with their headers, such as ``thickness [Å]``."""
    for name, quantity in quantities.items():
        unit = f" [{quantity.unit}]" if quantity.unit else ""
        yield f"{name}{unit}", quantity.values
        if quantity.interval is not None:
            for end, values in zip(("low", "high"), quantity.interval, strict=True):
                yield f"{name} {end} {quantity.level:.0%}{unit}", values


def _write_map(file: h5py.File, name: str, values: np.ndarray, unit: str, about: str) -> None:
    stored = values.astype(object) if values.dtype.kind == "U" else values
    dataset = file.create_dataset(name, data=stored)
    dataset.attrs["unit"] = unit
    dataset.attrs["description"] = about


def _write_figures(found: Applied, out: Path) -> list[Path]:
    from repro.reporting.figures import save

    paths = []
    for name, (figure, _) in found.figures.items():
        path = out.with_name(f"{out.stem}_{name}.svg")
        _refuse_existing(path)
        paths.append(save(figure, path))
    return paths


def _refuse_existing(path: Path) -> None:
    if path.exists():
        raise ReproError(f"{path} exists and is never overwritten: choose another name.")
