"""The report's opening: sentences made from the outcomes and the records."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from repro.reporting.formatting import STATUSES, count, sentence_list
from repro.reporting.tables import ClaimRow

if TYPE_CHECKING:
    from repro.evaluation.records import Record

SCALES = {
    "smoke": "a check that everything works, in seconds",
    "desk": "at most an hour on two processor cores",
    "paper": "the published scale",
}
SAID = {"holds": "holds", "better": "is better", "falls short": "falls short", "open": "is open"}
SAID_OF_MANY = {"holds": "hold", "better": "are better", "falls short": "fall short",
                "open": "are open"}  # fmt: skip


@dataclass(frozen=True)
class Summary:
    """The opening: what was found, what stands behind it, and how many claims fared how."""

    found: list[str]
    behind: list[str]
    tally: dict[str, int]


def tally(rows: list[ClaimRow]) -> dict[str, int]:
    """Count the claims with each outcome; every one is named, none found is 0."""
    counts = Counter(row.status for row in rows)
    return {word: counts[word] for word in STATUSES}


def summarise(n_studies: int, rows: list[ClaimRow], records: list[Record]) -> Summary:
    """Say what was compared, what was found, and at which scale.

    Parameters
    ----------
    n_studies : int
        Number of published systems.
    rows : list of ClaimRow
        All claims with their outcomes.
    records : list of Record
        All records.
    """
    opening = (
        f"{count(n_studies, 'published system')} in diffraction and electron microscopy, rebuilt "
        f"from the papers, trained, measured and compared with what the papers report: "
        f"{count(len(rows), 'claim')} in all."
    )
    found = [opening, " ".join(findings(rows))]
    return Summary(found, [scales(records)], tally(rows))


def findings(rows: list[ClaimRow]) -> list[str]:
    """Say at each scale how the claims fared, the paper's scale first."""
    if not rows:
        return ["No study states a claim yet."]
    sentences = []
    for preset in reversed(SCALES):
        counts = Counter(row.status for row in rows if row.preset == preset)
        if not counts:
            continue
        parts = [
            f"{counts[word]} {(SAID if counts[word] == 1 else SAID_OF_MANY)[word]}"
            for word in SAID
            if counts[word]
        ]
        verdicts = verdicts_said([row for row in rows if row.preset == preset])
        total = count(sum(counts.values()), "claim")
        sentences.append(f"At preset {preset}, of {total} {sentence_list(parts)}.{verdicts}")
    if not any(row.verdict for row in rows):
        sentences.append(
            "No claim has a verdict yet: that takes a run at the paper's scale that differs from "
            "the paper's in nothing."
        )
    n_absent = sum(row.status == "not run" for row in rows)
    if n_absent:
        verb = "has" if n_absent == 1 else "have"
        sentences.append(f"{count(n_absent, 'claim')} {verb} no run yet.")
    return sentences


def verdicts_said(rows: list[ClaimRow]) -> str:
    """Say how many of some claims have a verdict, and which; nothing if none has."""
    counts = Counter(row.verdict for row in rows if row.verdict)
    if not counts:
        return ""
    have = "has" if counts.total() == 1 else "have"
    words = sentence_list([f"{n} {word}" for word, n in counts.items()])
    return f" {counts.total()} of them {have} a verdict: {words}."


def scales(records: list[Record]) -> str:
    """Say how many runs the page is made from, and at which preset."""
    if not records:
        return "There are no records yet."
    by_preset = Counter(record.preset for record in records)
    known = [name for name in SCALES if by_preset[name]]
    named = known + sorted(set(by_preset) - set(SCALES))
    parts = [
        f"{by_preset[name]} at preset {name}" + (f" ({SCALES[name]})" if name in SCALES else "")
        for name in named
    ]
    n_failed = sum(record.status == "failed" for record in records)
    failed = f" {count(n_failed, 'run')} failed." if n_failed else ""
    return f"The results come from {count(len(records), 'run')}: {sentence_list(parts)}.{failed}"


def study_sentence(rows: list[ClaimRow]) -> str:
    """Say in one line how the claims of one study fared."""
    counts = tally(rows)
    if not rows:
        return "no claims are stated yet."
    parts = [
        f"{n} {SAID_OF_MANY[word].removeprefix('are ') if n > 1 and word in SAID_OF_MANY else word}"
        for word, n in counts.items()
        if n
    ]
    return f"{count(len(rows), 'claim')}: {sentence_list(parts)}."
