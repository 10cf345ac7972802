"""What the suite found that the papers do not say, with the figures of its records."""

from __future__ import annotations

import re
from statistics import fmean
from typing import TYPE_CHECKING

from repro.reporting.formatting import number

if TYPE_CHECKING:
    from repro.reporting.tables import Entries

FIGURE = re.compile(r"\{([^ {}]+) ([^ {}]+)\}")  # {RECORD METRIC}
DIGITS = 3


def findings(sentences: list[str], entries: Entries) -> list[str]:
    """Return sentences with the figures of records filled in.

    A sentence whose record or metric is not there is left out.

    Parameters
    ----------
    sentences : list of str
        As `Claims.findings` has them.
    entries : list
        Paths and records; a record goes by the name of its folder.
    """
    records = {path.parent.name: record for path, record in entries}
    found = []
    for sentence in sentences:
        places = FIGURE.findall(sentence)
        if all(name in records and metric in records[name].metrics for name, metric in places):
            found.append(FIGURE.sub(lambda match: _figure(records, *match.groups()), sentence))
    return found


def _figure(records: dict, name: str, metric: str) -> str:
    return number(fmean(records[name].metrics[metric].values.values()), DIGITS)
