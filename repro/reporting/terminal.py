"""What the command line prints: facts as plain data, and the same facts as text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.padding import Padding
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress
from rich.table import Table
from rich.text import Text

from repro.display import Display, Progress
from repro.reporting.formatting import (
    MISSING,
    STATUSES,
    count,
    duration,
    estimate,
    number,
    with_unit,
)
from repro.reporting.tables import OLDER, ClaimRow, numbered_reasons, power_text, scale_notes

if TYPE_CHECKING:
    from repro.datasets.store import Dataset
    from repro.evaluation.gates import GateResult
    from repro.evaluation.outcomes import Outcome
    from repro.evaluation.power import Power
    from repro.evaluation.records import Record
    from repro.study import Study

CLAIMS_WIDTH = 100


class TerminalDisplay(Display):
    """Shows progress on stderr."""

    quiet = False

    def __init__(self):
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)

    def announce(self, text: str) -> None:
        """Print what is being done now."""
        self._console.print(text, markup=False)

    @contextmanager
    def bar(self, label: str) -> Iterator[Progress]:
        """Show a bar with rate and time left."""
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[count]}"),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
        )
        with RichProgress(*columns, console=self._console) as progress:
            task = progress.add_task(label, total=None, count="", rate="")

            def update(done: int, total: int) -> None:
                speed = progress.tasks[0].speed
                rate = f"{number(speed, 3)}/s" if speed else ""
                count = f"{done}/{total}"
                progress.update(task, completed=done, total=total, count=count, rate=rate)

            yield update


def table(header: list[str], rows: list[list[str]]) -> str:
    """Return rows in columns, as wide as their widest entry, two spaces apart."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = [header, ["-" * width for width in widths], *rows]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def study_facts(study: Study, ages: Mapping[str, bool]) -> dict[str, Any]:
    """Return a study's name, title, variants, presets, experiments and baseline records.

    Parameters
    ----------
    study : Study
        The study.
    ages : mapping
        Of each of its baseline records by name, whether another code than today's made it.
    """
    spec = study.data_spec
    return {
        "name": study.name,
        "title": study.title,
        "variants": list(study.variants),
        "presets": list(spec.presets),
        "experiments": list(spec.experiments),
        "records": list(ages),
        "records_of_older_code": [name for name, is_stale in ages.items() if is_stale],
    }


def study_table(rows: list[dict[str, Any]]) -> str:
    """Return a table of studies."""
    lines = [
        [r["name"], ", ".join(r["variants"]), ", ".join(r["presets"]), _ages(r), r["title"]]
        for r in rows
    ]
    return table(["study", "variants", "presets", "records", "title"], lines)


def _ages(facts: dict[str, Any]) -> str:
    """Return how many records there are, and how many of older code."""
    n, n_stale = len(facts["records"]), len(facts["records_of_older_code"])
    return f"{n}, {n_stale} of {OLDER}" if n_stale else str(n)


def study_details(
    study: Study, powers: Mapping[str, Power | None], ages: Mapping[str, bool]
) -> dict[str, Any]:
    """Return all that is known of a study before it is run.

    Parameters
    ----------
    study : Study
        The study.
    powers : mapping
        What each claim's protocol can tell, by the claim's id.
    ages : mapping
        As `study_facts` takes them.
    """
    claims = study.claims
    return {
        **study_facts(study, ages),
        "paper": claims.paper.model_dump(mode="json"),
        "claims": [
            claim.model_dump(mode="json")
            | {"power": None if (told := powers.get(claim.id)) is None else asdict(told)}
            for claim in claims.claims
        ],
        "capabilities": study.capabilities,
        "apply_settings": dict(study.apply_settings),
        "data": study.data_spec.model_dump(mode="json"),
        "deviations": list(study.deviations),
    }


def study_page(facts: dict[str, Any]) -> str:
    """Return `study_details` as text."""
    paper, data = facts["paper"], facts["data"]
    authors = paper["authors"]
    names = authors if isinstance(authors, str) else ", ".join(authors)
    parts = [
        f"{facts['name']}: {facts['title']}",
        f"Paper: {names}, {paper['title']!r}, {paper['venue']} {paper['year']}",
        f"Variants: {', '.join(facts['variants'])}",
        _section("What it does", facts["capabilities"].values()),
        _section(
            "Of your file you can say (repro apply --set)",
            (f"{name}: {about}" for name, about in facts["apply_settings"].items()),
        ),
        _section("Presets (samples)", (_preset_line(*item) for item in data["presets"].items())),
        f"Experiments: {', '.join(data['experiments'])}",
        _section(
            "Data parameters",
            (
                f"{name} = {with_unit(str(p['value']), p['unit'])}: {p['about']}"
                for name, p in data["parameters"].items()
            ),
        ),
        _section("Claims", map(_claim_line, facts["claims"])),
        _section("Baseline records", _record_lines(facts)),
        _section("Deviations", [*facts["deviations"], *data["deviations"]]),
        _section("Limitations", data["limitations"]),
    ]
    return "\n\n".join(filter(None, parts))


def dataset_facts(dataset: Dataset) -> dict[str, Any]:
    """Return what a data set holds."""
    spec = dataset.spec
    return {
        "file": dataset.path.name,
        "name": spec.name,
        "version": spec.version,
        "preset": spec.preset,
        "experiment": spec.experiment,
        "seed": spec.seed,
        "counts": spec.counts,
        "parameters": spec.parameters,
        "variables": {
            name: {"shape": list(v.shape), "dtype": v.dtype, "unit": v.unit, "about": v.about}
            for name, v in spec.variables.items()
        },
        "fingerprint": spec.fingerprint,
        "checksum": dataset.checksum,
    }


def dataset_page(facts: dict[str, Any]) -> str:
    """Return `dataset_facts` as text."""
    rows = [
        [name, str(tuple(v["shape"])), v["dtype"], v["unit"] or MISSING]
        for name, v in facts["variables"].items()
    ]
    return "\n".join(
        [
            f"{facts['file']}: {facts['name']} {facts['version']}, preset {facts['preset']}, "
            f"experiment {facts['experiment']}, seed {facts['seed']}",
            _preset_line("samples", facts["counts"]),
            "parameters: " + ", ".join(f"{k} = {v}" for k, v in facts["parameters"].items()),
            f"checksum: {facts['checksum']}",
            "",
            table(["variable", "shape of a sample", "dtype", "unit"], rows),
        ]
    )


def record_page(record: Record, outcomes: Sequence[Outcome]) -> str:
    """Return a record's metrics and times, and what it says of the paper's claims, as text."""
    seeds = ", ".join(map(str, record.seeds))
    metrics = [
        [name, with_unit(_mean(list(m.values.values())), m.unit), m.better]
        for name, m in record.metrics.items()
    ]
    found = [outcome for outcome in outcomes if outcome.estimates]
    told = [
        [f"{STATUSES[o.status].symbol} {o.word}", o.claim, estimate(o.value, o.interval), o.reason]
        for o in found
    ]
    times = ", ".join(f"{name} {duration(t.wall_s)}" for name, t in record.timings.items())
    head = f"{record.study} {record.variant}, preset {record.preset}, seeds {seeds}"
    lines = [
        f"{head}: {record.status}{f', {record.reason}' if record.reason else ''}",
        f"time: {times}",
        "",
        table(["metric", "mean", "better"], metrics),
        "",
    ]
    if told:
        lines.append(table(["outcome", "claim", "value", "reason"], told))
    if record.preset == "smoke":
        lines.append("Preset smoke says nothing of the paper's claims.")
    else:
        n = len(outcomes) - len(found)
        lines.append(f"{count(n, 'claim')} of the paper need other runs.")
    return "\n".join(lines)


def claims_text(rows: list[ClaimRow]) -> str:
    """Return claims and outcomes as text, two lines a claim; each reason once, at the end.

    Parameters
    ----------
    rows : list of ClaimRow
        The claims in their order.
    """
    if not rows:
        return "No claim has this outcome."
    console = Console()
    console.width = min(CLAIMS_WIDTH, console.width) if console.is_terminal else CLAIMS_WIDTH
    reasons = numbered_reasons(rows)
    legend = Table.grid(padding=(0, 1))
    for reason, i in reasons.items():
        legend.add_row(Text(f"({i})"), Text(reason))
    with console.capture() as captured:
        for study in dict.fromkeys(row.study for row in rows):
            own = [row for row in rows if row.study == study]
            console.print(Text(study, style="bold"))
            console.print(claims_grid(own, reasons))
            for text in scale_notes(own):
                console.print(Text(text, style="dim"))
            console.print()
        console.print(Text("Reasons", style="bold"))
        console.print(legend)
        n_stale = sum(row.stale or row.ours_stale for row in rows)
        if n_stale:
            console.print(
                f"\n{OLDER}: records behind {count(n_stale, 'claim')} were not made by "
                "the code of today; `repro report` names them."
            )
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def claims_grid(rows: list[ClaimRow], reasons: dict[str, int]) -> Table:
    """Return claims in columns: what the paper reports, what we find, and the outcome."""
    columns = Table.grid(padding=(0, 2, 0, 0), expand=True)
    columns.add_column("claim", ratio=5, overflow="fold")
    columns.add_column("faithful", ratio=4)
    columns.add_column("ours", ratio=3)
    columns.add_column("outcome", no_wrap=True)
    columns.show_header = True
    for row in rows:
        status = STATUSES[row.status]
        columns.add_row(
            Text(row.claim),
            Text(row.value_text),
            Text(row.ours_text),
            Text(
                f"{status.symbol} {row.word} ({reasons[row.reason]})",
                style=status.style if row.verdict else f"dim {status.style}",
            ),
        )
        reported = Padding(Text(f"paper: {row.reported_label}", style="dim"), (0, 0, 0, 2))
        columns.add_row(
            reported,
            Text("; ".join(filter(None, (row.behind, row.age))), style="dim"),
            Text("; ".join(filter(None, (row.ours_scale, row.ours_age))), style="dim"),
            Text(row.power_text, style="dim"),
        )
    return columns


def gate_facts(checked: list[GateResult]) -> list[dict[str, Any]]:
    """Return gates with their outcome, one dict each."""
    return [
        {
            "study": result.study,
            **result.gate.model_dump(include={"id", "statement", "record", "reason"}),
            "holds": result.holds,
            "figure": result.figure,
            "limit": result.limit,
            "said": result.said,
        }
        for result in checked
    ]


def gates_text(checked: list[GateResult]) -> str:
    """Return gates with their outcome as text, two lines a gate, and how many fail."""
    lines = []
    for result in checked:
        mark, word = ("✓", "holds") if result.holds else ("▼", "fails")
        lines.append(f"{mark} {word}  {result.gate.record}  {result.gate.statement}")
        lines.append(f"           {result.gate.id}: {result.said}")
    failing = sum(not result.holds for result in checked)
    return "\n".join([*lines, f"{failing} of {count(len(checked), 'gate')} failing."])


def facts_page(facts: dict[str, Any], indent: str = "") -> str:
    """Return nested facts as text, one a line."""
    lines = []
    for name, value in facts.items():
        if isinstance(value, dict):
            lines += [f"{indent}{name}:", facts_page(value, indent + "  ")]
        else:
            lines.append(f"{indent}{name}: {MISSING if value is None else value}")
    return "\n".join(lines)


def _section(heading: str, lines: Iterable[str]) -> str:
    """Return lines under a heading; nothing if there are none."""
    bullets = [f"  - {line}" for line in lines]
    return "\n".join([f"{heading}:", *bullets]) if bullets else ""


def _record_lines(facts: dict[str, Any]) -> Iterator[str]:
    for name in facts["records"]:
        yield f"{name} ({OLDER})" if name in facts["records_of_older_code"] else name


def _claim_line(claim: dict[str, Any]) -> str:
    return f"{claim['id']}: {claim['statement']} ({power_text(claim['power'])})"


def _preset_line(name: str, counts: dict[str, Any]) -> str:
    line = ", ".join(f"{counts[split]} {split}" for split in ("train", "validation", "test"))
    own = ", ".join(f"{key} = {value}" for key, value in counts.get("parameters", {}).items())
    return f"{name}: {line}" + (f" ({own})" if own else "")


def _mean(values: list[float]) -> str:
    return number(sum(values) / len(values) if values else None)
