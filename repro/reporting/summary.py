"""The report's opening, in plain sentences made from the verdicts and the records."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from repro.reporting.formatting import STATUSES, count, sentence_list
from repro.reporting.tables import ClaimRow

if TYPE_CHECKING:
    from repro.evaluation.records import Record

SCALES = {
    "smoke": "a functional check that takes seconds and learns little",
    "desk": "at most an hour on two processor cores",
    "paper": "the published scale",
}
JUDGED = {
    "reproduced": "{n} reproduced",
    "better": "{n} better than reported",
    "below": "{n} below what is reported",
    "inconclusive": "{n} inconclusive",
}


@dataclass(frozen=True)
class Summary:
    """The opening: paragraphs, and how many claims have each verdict."""

    paragraphs: list[str]
    tally: dict[str, int]


def tally(rows: list[ClaimRow]) -> dict[str, int]:
    """Count the claims with each verdict; every verdict is named, none found is 0."""
    counts = Counter(row.status for row in rows)
    return {word: counts[word] for word in STATUSES}


def summarise(n_studies: int, rows: list[ClaimRow], records: list[Record]) -> Summary:
    """Say what was asked, what was found, and at which scale.

    Parameters
    ----------
    n_studies : int
        Number of published systems.
    rows : list of ClaimRow
        All claims with their verdicts.
    records : list of Record
        All records.
    """
    counts = tally(rows)
    opening = (
        f"This page holds {count(n_studies, 'published system')} in diffraction and electron "
        f"microscopy against what the papers report. Each was rebuilt from its paper, trained, "
        f"measured, and put to {count(len(rows), 'claim')} that can be checked."
    )
    paragraphs = [opening, findings(counts), open_claims(rows, counts), scales(records)]
    return Summary([text for text in paragraphs if text], counts)


def findings(counts: dict[str, int]) -> str:
    """Say how the claims fared that could be judged at the scale they were made at."""
    total = sum(counts[word] for word in JUDGED)
    if not sum(counts.values()):
        return "No study states a claim yet."
    if not total:
        return (
            "No claim has been judged yet: that takes a run at the scale, and with the number of "
            "seeds, that the claim names."
        )
    parts = [text.format(n=counts[word]) for word, text in JUDGED.items() if counts[word]]
    return (
        f"{count(total, 'claim')} could be judged, each by a margin written down before the run: "
        f"{sentence_list(parts)}."
    )


def open_claims(rows: list[ClaimRow], counts: dict[str, int]) -> str:
    """Say how many claims have a number that is not judged, and how many have none."""
    sentences = []
    unlike, absent = counts["not comparable"], counts["not run"]
    if unlike:
        smaller = {r.preset for r in rows if r.status == "not comparable"} - {"paper", None}
        why = f" (run at the {sentence_list(sorted(smaller))} preset)" if smaller else ""
        verb = "has a number that is" if unlike == 1 else "have numbers that are"
        sentences.append(
            f"{count(unlike, 'claim')} {verb} shown but not judged, because the run differs from "
            f"the paper's in scale, data or protocol{why}."
        )
    if absent:
        verb = "has" if absent == 1 else "have"
        sentences.append(f"{count(absent, 'claim')} {verb} not been run; the reasons are below.")
    return " ".join(sentences)


def scales(records: list[Record]) -> str:
    """Say how many runs stand behind the page and at which preset."""
    if not records:
        return "There is no record of any run yet."
    by_preset = Counter(record.preset for record in records)
    known = [name for name in SCALES if by_preset[name]]
    named = known + sorted(set(by_preset) - set(SCALES))
    parts = [
        f"{by_preset[name]} at the {name} preset" + (f" ({SCALES[name]})" if name in SCALES else "")
        for name in named
    ]
    n_failed = sum(record.status == "failed" for record in records)
    failed = f" {count(n_failed, 'run')} failed." if n_failed else ""
    return f"Behind the numbers stand {count(len(records), 'run')}: {sentence_list(parts)}.{failed}"


def study_sentence(rows: list[ClaimRow]) -> str:
    """Say in one line how the claims of one study fared."""
    counts = tally(rows)
    if not rows:
        return "no claims are stated yet."
    parts = [f"{n} {word}" for word, n in counts.items() if n]
    return f"{count(len(rows), 'claim')}: {sentence_list(parts)}."
