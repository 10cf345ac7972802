"""The report: one HTML file made from records, which needs no network and no other file."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
from markupsafe import Markup

from repro.files import write_text
from repro.reporting import views
from repro.reporting.benchmarks import benchmark_view
from repro.reporting.courses import HEIGHT, WIDTH, history_view
from repro.reporting.forest import forest
from repro.reporting.formatting import STATUSES, breakable, number, unbroken
from repro.reporting.matrix import HEADER, line
from repro.reporting.opening import SCALES, summarise
from repro.reporting.tables import OLDER, Entries, relative

if TYPE_CHECKING:
    from repro.bench.rows import BenchmarkFile
    from repro.reporting.history import Entry
    from repro.reporting.matrix import MatrixFile
    from repro.reporting.views import References
    from repro.study import Study

TEMPLATES = Path(__file__).parent / "templates"
TITLE = "Published machine learning for microscopy, reproduced"
WORDS = {
    "study": "One published system: its physics, network, recipe, evaluation and claims.",
    "claim": "One statement of a paper that can be checked: a number, a bound or an order.",
    "margin": "How far from the paper's number still counts as the same; fixed before the run.",
    "interval": "Where the mean over seeds lies with 95 % confidence (Student's t).",
    "seed": "The number that starts all randomness of a run; several seeds show the scatter.",
    "variant": "What is trained: faithful is as published, corrected mends defects, improved is "
    "ours. Published numbers are compared with faithful.",
    "preset": "The scale of a run: "
    + "; ".join(f"{name}, {meaning}" for name, meaning in SCALES.items())
    + ".",
    "record": "The file with the result of one run; this page is made from records.",
    OLDER: "A record's code is not that which made this page, so that its numbers may have moved.",
}


def write_report(
    records: Entries,
    studies: Mapping[str, Study],
    out: Path,
    references: References | None = None,
    command: str | None = None,
    benchmarks: Mapping[Path, BenchmarkFile] | None = None,
    ratios: Mapping[Path, dict[str, Any]] | None = None,
    history: Sequence[Entry] = (),
    stale: Collection[Path] = (),
    matrices: Mapping[Path, MatrixFile] | None = None,
) -> Path:
    """Write the report of all records as one HTML file.

    Parameters
    ----------
    records : list
        Paths and records; figures are looked for beside each record.
    studies : mapping
        Studies by name, in the order of the page.
    out : Path
        The file; what was there is replaced once the new page is whole.
    references : dict, optional
        Published training curves by study and task; by default those that the studies know.
    command : str, optional
        The command that makes the page, for its footer.
    benchmarks : dict, optional
        Timings of networks by path.
    ratios : dict, optional
        Programs beside each other, as `repro.bench.summary` wrote them, by path.
    history : sequence of Entry
        The ledger of what was accepted, oldest first.
    stale : collection of Path
        Records that another code than today's made.
    matrices : dict, optional
        Tasks under several versions of the libraries, by path.

    Raises
    ------
    ReproError
        If a study's claims are damaged or the file cannot be written.
    """
    out = Path(out)
    shown = benchmarks, ratios, history, stale, matrices
    write_text(out, render(records, studies, out.parent, references, command, out.name, *shown))
    return out


def render(
    records: Entries,
    studies: Mapping[str, Study],
    base: Path,
    references: References | None = None,
    command: str | None = None,
    name: str = "report.html",
    benchmarks: Mapping[Path, BenchmarkFile] | None = None,
    ratios: Mapping[Path, dict[str, Any]] | None = None,
    history: Sequence[Entry] = (),
    stale: Collection[Path] = (),
    matrices: Mapping[Path, MatrixFile] | None = None,
) -> str:
    """Return the page; the same records give the same text.

    Parameters
    ----------
    records, studies, references, command, benchmarks, ratios, history, stale, matrices
        As in `write_report`.
    base : Path
        The folder to which the paths of records are relative.
    name : str
        The page's file name.
    """
    entries = sorted(records, key=lambda entry: relative(entry[0], base))
    if references is None:
        references = views.published_curves(studies)
    shown = [views.study_view(s, entries, base, references, stale) for s in studies.values()]
    rows = [row for study in shown for row in study.claims]
    plot = forest(rows)
    page = (
        environment()
        .get_template("report.html.j2")
        .render(
            title=TITLE,
            css=Markup((TEMPLATES / "report.css").read_text(encoding="utf-8")),
            statuses=STATUSES,
            words=WORDS,
            summary=summarise(len(shown), rows, [record for _, record in entries]),
            forest=plot,
            studies=shown,
            failed=[run for study in shown for run in study.all_runs if run.failed],
            unanswered=any(study.unanswered for study in shown),
            benchmarks=benchmark_view(
                {relative(path, base): file for path, file in (benchmarks or {}).items()},
                {relative(path, base): file for path, file in (ratios or {}).items()},
            ),
            older=OLDER,
            matrices=[matrix_view(relative(p, base), m) for p, m in (matrices or {}).items()],
            history=history_view(history),
            plot_size=(WIDTH, HEIGHT),
            environments=views.environments(entries, base),
            rebuild=command or f"repro report --out {name}",
        )
    )
    return re.sub(r"\n\s+", "\n", page)  # indentation is for who reads the template


def matrix_view(path: str, made: MatrixFile) -> dict[str, Any]:
    """Return what the page shows of a task under several versions."""
    rows = [(row, list(zip(HEADER, line(row), strict=True))) for row in made.rows]
    return {"path": path, "made": made, "header": HEADER, "rows": rows}


def environment() -> jinja2.Environment:
    """Return the Jinja environment: every text is escaped, an unknown name is an error."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "unbroken": unbroken,
        "breakable": breakable,
        "number": number,
        "commands": views.commands,
    }
    return environment
