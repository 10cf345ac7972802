"""The report's opening: sentences made from the verdicts and the records."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from repro.reporting.forest import BETTER, WITHIN, Forest
from repro.reporting.formatting import STATUSES, count, sentence_list
from repro.reporting.tables import ClaimRow

if TYPE_CHECKING:
    from repro.evaluation.records import Record

SCALES = {
    "smoke": "a check that everything works, in seconds",
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
    """The opening: what was found, what stands behind it, and how many claims have each verdict."""

    found: list[str]
    behind: list[str]
    tally: dict[str, int]


def tally(rows: list[ClaimRow]) -> dict[str, int]:
    """Count the claims with each verdict; every verdict is named, none found is 0."""
    counts = Counter(row.status for row in rows)
    return {word: counts[word] for word in STATUSES}


def summarise(
    n_studies: int, rows: list[ClaimRow], plot: Forest | None, records: list[Record]
) -> Summary:
    """Say what was compared, what was found, and at which scale.

    Parameters
    ----------
    n_studies : int
        Number of published systems.
    rows : list of ClaimRow
        All claims with their verdicts.
    plot : Forest, optional
        The claims that have a number.
    records : list of Record
        All records.
    """
    counts = tally(rows)
    opening = (
        f"{count(n_studies, 'published system')} in diffraction and electron microscopy, rebuilt "
        f"from the papers, trained, measured and compared with what the papers report: "
        f"{count(len(rows), 'claim')} in all."
    )
    found = [opening, f"{findings(counts)} {unjudged_numbers(plot)}".strip()]
    behind = [open_claims(rows, counts), scales(records)]
    return Summary(found, [text for text in behind if text], counts)


def findings(counts: dict[str, int]) -> str:
    """Say how the claims fared that could be judged."""
    total = sum(counts[word] for word in JUDGED)
    if not sum(counts.values()):
        return "No study states a claim yet."
    if not total:
        return (
            "No claim has a verdict yet: that takes a run at the paper's scale with as many seeds "
            "as the claim asks for."
        )
    parts = [text.format(n=counts[word]) for word, text in JUDGED.items() if counts[word]]
    return f"{count(total, 'claim')} could be judged: {sentence_list(parts)}."


def unjudged_numbers(plot: Forest | None) -> str:
    """Say how the numbers compare that have no verdict, such as those of smaller runs."""
    distances = [row.distance for row in plot.rows if not row.claim.is_judged] if plot else []
    if not distances:
        return ""
    within = sum(text == WITHIN for text in distances)
    better = sum(text.endswith(BETTER) for text in distances)
    parts = [f"{within} {'lies' if within == 1 else 'lie'} within the paper's margin"]
    parts += [f"{better} {'is' if better == 1 else 'are'} better"] if better else []
    worse = len(distances) - within - better
    parts += [f"{worse} {'is' if worse == 1 else 'are'} worse"] if worse else []
    numbers = count(len(distances), "number")
    return f"Of {numbers} from smaller runs, {sentence_list(parts)}."


def open_claims(rows: list[ClaimRow], counts: dict[str, int]) -> str:
    """Say how many claims have a number that is not judged, and how many have none."""
    sentences = []
    unlike, absent = counts["not comparable"], counts["not run"]
    if unlike:
        smaller = {r.preset for r in rows if r.status == "not comparable"} - {"paper", None}
        why = f" (preset {sentence_list(sorted(smaller))})" if smaller else ""
        verb = "has a result" if unlike == 1 else "have results"
        sentences.append(
            f"{count(unlike, 'claim')} {verb} without a verdict, because the run differs from the "
            f"paper's in scale, data or protocol{why}."
        )
    if absent:
        verb = "has" if absent == 1 else "have"
        sentences.append(f"{count(absent, 'claim')} {verb} no run yet.")
    return " ".join(sentences)


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
    parts = [f"{n} {word}" for word, n in counts.items() if n]
    return f"{count(len(rows), 'claim')}: {sentence_list(parts)}."
