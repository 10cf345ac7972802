"""A trained run used on a user's own file."""

from __future__ import annotations

import csv
import glob
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from repro.datasets.emd import Axis, write_arrays
from repro.display import SILENT, Display
from repro.errors import ReproError
from repro.files import make_folder, replacing
from repro.reporting.formatting import spreadsheet_text
from repro.runs.folder import run_files_of
from repro.study import Applied, Quantity, get_study

MAP_AXES = ("row", "column")


def apply(
    folder: Path,
    source: Path,
    out: Path,
    seed: int | None = None,
    display: Display = SILENT,
    settings: Mapping[str, str] | None = None,
) -> list[Path]:
    """Ask a trained run about a user's file, and write what it says.

    Parameters
    ----------
    folder : Path
        The trained run's folder. It is opened, which loads the network library, only when all
        else is known to be right.
    source : Path
        The user's file or folder.
    out : Path
        A table, ``.csv``, or maps, ``.h5``; pictures go beside it, as ``NAME_PICTURE.svg``. Never
        overwritten.
    seed : int, optional
        Which of the run's seeds answers; by default the lowest.
    display : Display
        Where progress and notices go.
    settings : mapping, optional
        What the user says of the file, by the names in `Study.apply_settings`.

    Returns
    -------
    list of Path
        What was written, the table or maps first.

    Raises
    ------
    ReproError
        If there is no such run or file, the study cannot do this, the file is not as it takes it,
        or what would be written exists or has another suffix.
    """
    settings = dict(settings or {})
    _check(folder, source, out, seed, settings)
    found = _ask(folder, source, seed, display, settings)
    for notice in found.notices:
        display.announce(notice)
    make_folder(out.parent)
    write = write_table if out.suffix == ".csv" else write_maps
    write(found.quantities, out)
    return [out, *_write_figures(found, out)]


def write_table(quantities: dict[str, Quantity], out: Path) -> None:
    """Write quantities as a CSV table, a row an input; units stand in the header.

    A cell is empty where a value is not known.

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
        table.writerows(zip(*(map(_cell, values) for values in columns.values()), strict=True))


def write_maps(quantities: dict[str, Quantity], out: Path) -> None:
    """Write quantities as HDF5 data sets with the attributes ``unit`` and ``description``.

    Maps are in an EMD 1.0 tree too, by which other microscopy programs find them.
    """
    with replacing(out) as partial, h5py.File(partial, "w") as file:
        for name, quantity in quantities.items():
            _write_map(file, name, quantity.values, quantity.unit, quantity.about)
            if quantity.interval is not None:
                for end, values in zip(("low", "high"), quantity.interval, strict=True):
                    about = f"{end} end of the {quantity.level:.0%} interval of {name}"
                    _write_map(file, f"{name}_{end}", values, quantity.unit, about)
        maps = {name: array for name, array in file.items() if array.ndim == len(MAP_AXES)}
        axes = {
            name: [Axis(a, np.arange(n), "") for a, n in zip(MAP_AXES, array.shape, strict=True)]
            for name, array in maps.items()
        }
        write_arrays(file, {n: array.attrs["unit"] for n, array in maps.items()}, axes, out.stem)


def _check(
    folder: Path, source: Path, out: Path, seed: int | None, settings: Mapping[str, str]
) -> None:
    """Refuse what cannot work, by what is on disk alone."""
    there = {run.seed: run for run in run_files_of(folder)}
    if seed is not None and seed not in there:
        raise ReproError(f"{folder} has no seed {seed}: it has {', '.join(map(str, there))}.")
    study = get_study(next(iter(there.values())).choices.study)
    study.check_provides("apply")
    for name in settings.keys() - study.apply_settings.keys():
        known = ", ".join(study.apply_settings) or "nothing"
        raise ReproError(f"--set {name}: of a file {study.name} takes {known}.")
    if out.suffix not in study.apply_suffixes:
        raise ReproError(f"{out}: give a name that ends in {' or '.join(study.apply_suffixes)}.")
    if not source.exists():
        raise ReproError(f"There is no file or folder {source}.")
    for path in (out, *out.parent.glob(f"{glob.escape(out.stem)}_*.svg")):
        if path.exists():
            raise ReproError(f"{path} exists and is never overwritten: choose another name.")


def _ask(
    folder: Path, source: Path, seed: int | None, display: Display, settings: dict[str, str]
) -> Applied:
    from repro.runs.run import Run

    run = Run.open(folder)
    trained = run.trained(run.seeds[0] if seed is None else seed)
    with display.bar(f"apply {run.study.name}") as progress:
        return run.study.provided("apply")(trained, source, progress, **settings)


def _columns(quantities: dict[str, Quantity]) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the columns of a table with their headers, such as ``thickness [Å]``."""
    for name, quantity in quantities.items():
        unit = f" [{quantity.unit}]" if quantity.unit else ""
        yield f"{name}{unit}", quantity.values
        if quantity.interval is not None:
            for end, values in zip(("low", "high"), quantity.interval, strict=True):
                yield f"{name} {end} {quantity.level:.0%}{unit}", values


def _cell(value: Any) -> str:
    """Return a value with the digits that its type holds, and no more."""
    if isinstance(value, str):
        return spreadsheet_text(value)
    is_unknown = isinstance(value, np.floating) and np.isnan(value)
    return "" if is_unknown else str(value)


def _write_map(file: h5py.File, name: str, values: np.ndarray, unit: str, about: str) -> None:
    stored = values.astype(object) if values.dtype.kind == "U" else values
    dataset = file.create_dataset(name, data=stored)
    dataset.attrs["unit"] = unit
    dataset.attrs["description"] = about


def _write_figures(found: Applied, out: Path) -> list[Path]:
    from repro.reporting.figures import save

    return [
        save(figure, out.with_name(f"{out.stem}_{name}.svg"))
        for name, (figure, _) in found.figures.items()
    ]
