"""Titles of runs: no two runs of a study have the same."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from repro.reporting.formatting import count

if TYPE_CHECKING:
    from repro.evaluation.records import Record
    from repro.reporting.tables import Entries

JUDGED_BY = re.compile(r"^repro evaluate .*--data (\S+)")


def run_titles(entries: Entries) -> dict[Path, str]:
    """Return a title for each record: variant, preset, experiment, and what sets it apart.

    Parameters
    ----------
    entries : list
        Paths and records of one study.
    """
    titles = {path: run_title(record) for path, record in entries}
    for describe in DIFFERENCES:
        for alike in _groups(titles):
            texts = {path: describe(path, record) for path, record in entries if path in alike}
            if len(set(texts.values())) > 1:
                titles |= {path: f"{titles[path]}, {text}" for path, text in texts.items()}
    return titles


def run_title(record: Record) -> str:
    """Return what was run: variant, preset, experiment, and the samples that judged it."""
    judged = JUDGED_BY.match(record.command)
    by = f", judged by {judged[1]}" if judged else ""
    return f"{record.variant}, {record.preset}, {record.experiment}{by}"


def _groups(titles: dict[Path, str]) -> Iterable[set[Path]]:
    """Return the records that have a title together with others."""
    for title, n in Counter(titles.values()).items():
        if n > 1:
            yield {path for path, other in titles.items() if other == title}


def _precision(path: Path, record: Record) -> str:
    return record.environment.flags.precision


def _data(path: Path, record: Record) -> str:
    return f"data set {record.data.fingerprint[:8]}" if record.data else "no data set"


def _machine(path: Path, record: Record) -> str:
    flags = record.environment.flags
    return f"{flags.backend} on {count(flags.world_size, 'process', 'processes')}"


def _seeds(path: Path, record: Record) -> str:
    return f"seeds {', '.join(map(str, record.seeds))}"


def _folder(path: Path, record: Record) -> str:
    return f"folder {path.parent.name}"


def _path(path: Path, record: Record) -> str:
    return path.as_posix()


DIFFERENCES: tuple[Callable[[Path, Record], str], ...] = (
    _precision, _seeds, _data, _machine, _folder, _path,
)  # fmt: skip
