"""Benchmarks that are kept under the results, and the README's table of them."""

from __future__ import annotations

import re
from pathlib import Path

from repro.bench.rows import NETWORKS, find_benchmarks, read_benchmarks
from repro.bench.tables import BEGIN, END, readme_table
from repro.errors import ReproError
from repro.files import make_folder, write_text


def accept(file: Path, name: str, results: Path) -> Path:
    """Keep a file of benchmarks under the results, and renew the README's table.

    Parameters
    ----------
    file : pathlib.Path
        What ``repro bench --json`` wrote.
    name : str
        What it is filed under, such as the processor's or GPU's name.
    results : pathlib.Path
        The folder of results, beside the README.

    Raises
    ------
    ReproError
        If the file is no such file, or the name is taken or cannot be a file's.
    """
    made = read_benchmarks(file)
    if not re.fullmatch(r"[\w-]+", name):
        raise ReproError(f"--name {name}: write it in letters, digits, - and _.")
    kept = results / NETWORKS / f"{name}.json"
    if kept.exists():
        raise ReproError(f"{kept} is there and is never overwritten: choose another name.")
    make_folder(kept.parent)
    write_text(kept, made.model_dump_json(indent=1) + "\n")
    renew_readme(results)
    return kept


def renew_readme(results: Path) -> None:
    """Write the table of timings between its marks in the README beside the results."""
    path = results.resolve().parent / "README.md"
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    if BEGIN in text and END in text:
        write_text(path, with_table(text, results))


def with_table(readme: str, results: Path) -> str:
    """Return a README's text with the table of the benchmarks under the results."""
    before, after = readme.split(BEGIN)[0], readme.split(END)[1]
    files = find_benchmarks([results])
    return f"{before}{BEGIN}\n{readme_table(list(files.values()))}\n{END}{after}"
