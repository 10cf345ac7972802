"""The runs that are still wanted, as text for a terminal and as Markdown for a document."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from repro.reporting.formatting import count, duration
from repro.reporting.markers import put_text, with_between
from repro.reporting.tables import markdown_cell

if TYPE_CHECKING:
    from repro.runs.queue import StageTime, Wanted

NAME = "queue"  # in the markers of the document
NOTHING = "Nothing is wanted: the records have every run at the paper's scale."


def queue_text(runs: list[Wanted]) -> str:
    """Return the queue for a terminal: each run with its time, its command and its stages."""
    blocks = []
    for place, run in enumerate(runs, start=1):
        lines = [f"{place}. {_head(run)}", f"   {run.why}", f"   {run.command}"]
        lines += [f"   {s.stage}: {s.work}, {duration(s.seconds)} ({_kind(s)})" for s in run.stages]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) or NOTHING


def queue_markdown(runs: list[Wanted]) -> str:
    """Return the queue for a document: a table of all runs, then each with its stages."""
    if not runs:
        return NOTHING
    lines = ["| | Run | Claims | Seeds | Time on an H100 | Slices |", "|---|---|---|---|---|---|"]
    for place, run in enumerate(runs, start=1):
        seeds = ", ".join(map(str, run.seeds))
        name = f"{run.study} {run.run}"
        lines.append(
            f"| {place} | {markdown_cell(name)} | {run.claims} | {seeds} | {duration(run.seconds)} "
            f"| {run.slices} |"
        )
    for place, run in enumerate(runs, start=1):
        lines += ["", f"**{place}. {run.study} {run.run}.** {run.why}"]
        lines += ["", "```sh", run.command, "```", ""]
        lines += ["| Stage | Work | Time | Measured or estimated |", "|---|---|---|---|"]
        for stage in run.stages:
            cells = map(markdown_cell, (stage.stage, stage.work, duration(stage.seconds)))
            lines.append(f"| {' | '.join(cells)} | {_source(stage)} |")
    return "\n".join(lines)


def document_text(path: Path, runs: list[Wanted]) -> str:
    """Return a document's text with the queue between its markers."""
    return with_between(path, NAME, queue_markdown(runs), "the queue of runs")


def update_document(path: Path, runs: list[Wanted]) -> bool:
    """Put the queue between the markers of a document; return whether the file changed."""
    return put_text(path, document_text(path, runs))


def _head(run: Wanted) -> str:
    seeds = count(len(run.seeds), "seed")
    time = f"{duration(run.seconds)} on an H100 in {count(run.slices, 'slice')}"
    return f"{run.study} {run.run}: {count(run.claims, 'claim')}, {seeds}, {time}"


def _kind(stage: StageTime) -> str:
    return "estimated" if stage.estimated else "measured"


def _source(stage: StageTime) -> str:
    """Return where a time comes from, the measured figure as code."""
    figure = f"`{stage.measured}`" if stage.measured else ""
    parts = filter(None, [figure, markdown_cell(stage.estimated)])
    return f"{_kind(stage)}: {', '.join(parts)}"
