"""What the report shows of each study, run and machine, made from records alone."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np

from repro.evaluation.estimates import names_metric
from repro.reporting import formatting as write
from repro.reporting.embedding import FigureView, data_uri, figure_view, image_size
from repro.reporting.findings import findings
from repro.reporting.labels import metric_label
from repro.reporting.opening import SCALES, study_sentence
from repro.reporting.tables import (
    ClaimRow,
    Entries,
    claim_rows,
    commands_of,
    numbered_reasons,
    relative,
    scale_notes,
    told_apart,
)
from repro.reporting.titles import run_titles
from repro.reporting.variants import VariantTable, variant_tables

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from repro.evaluation.claims import Claim, Paper
    from repro.evaluation.records import NetworkEntry, Record, RecordedMetric, Timing
    from repro.reporting.figures import Curve
    from repro.study import Study

LONGEST_OPEN = 12
MOST_NAMES = 3
NO_COST = "not counted: the cost of one of its layers is unknown"
BEHIND_CLAIMS = "Behind the claims"
References = dict[tuple[str, str], "Curve"]


@dataclass(frozen=True)
class NetworkView:
    """A network in words."""

    name: str
    parameters: str
    flops: str
    recipe: str


@dataclass(frozen=True)
class MetricView:
    """A metric in words."""

    key: str
    label: str
    value: str
    better: str
    definition: str

    @property
    def as_told(self) -> tuple[str, str, str]:
        """What two runs of a study have in common where this is alike in both."""
        return self.key, self.definition, self.value


@dataclass(frozen=True)
class MetricGroup:
    """Metrics whose keys begin alike."""

    name: str
    metrics: list[MetricView]

    @property
    def is_baseline(self) -> bool:
        """Whether our results are compared with this."""
        return "baseline" in self.name.lower()

    @property
    def shown_open(self) -> bool:
        """Whether the group is worth its space: a short list of baselines."""
        return self.is_baseline and len(self.metrics) <= LONGEST_OPEN

    @property
    def by_definition(self) -> list[tuple[str, list[MetricView]]]:
        """The metrics in their order, those in a row with one definition together."""
        runs = groupby(self.metrics, key=lambda metric: metric.definition)
        return [(definition, list(metrics)) for definition, metrics in runs]


@dataclass(frozen=True)
class RunView:
    """All that the page shows of one record."""

    study: str
    study_title: str
    anchor: str
    path: str
    href: str
    title: str
    subtitle: str
    preset: str
    stale: bool
    failed: bool
    reason: str
    commands: list[str]
    networks: list[NetworkView]
    curves: list[FigureView]
    courses: list[str]
    figures: list[FigureView]
    worst_cases: list[FigureView]
    metric_groups: list[MetricGroup]
    n_metrics_left_out: int
    n_repeated: int
    deviations: list[str]
    provenance: dict[str, list[tuple[str, str]]]


@dataclass(frozen=True)
class StudyView:
    """All that the page shows of one study."""

    name: str
    title: str
    citation: str
    url: str | None
    claims: list[ClaimRow]
    findings: list[str]
    variants: list[VariantTable]
    across: list[FigureView]
    lead: FigureView | None
    deviations: list[str]
    runs: list[RunView]
    smoke_runs: list[RunView]

    @property
    def sentence(self) -> str:
        """How its claims fared."""
        return study_sentence(self.claims)

    @property
    def all_runs(self) -> list[RunView]:
        """Its runs, those at preset smoke last."""
        return [*self.runs, *self.smoke_runs]

    @property
    def reasons(self) -> dict[str, int]:
        """Why claims have no run, each reason with its number."""
        return numbered_reasons([row for row in self.claims if row.status == "not run"])

    @property
    def shown_claims(self) -> list[ClaimRow]:
        """The claims that its table shows at once."""
        return told_apart(self.claims)[0]

    @property
    def folded_claims(self) -> list[ClaimRow]:
        """Many claims without any run, in a table that is folded away."""
        return told_apart(self.claims)[1]

    @property
    def scale_notes(self) -> list[str]:
        """In what the runs behind the claims differ from the paper's, a sentence each scale."""
        return scale_notes(self.claims)

    @property
    def unanswered(self) -> dict[str, list[ClaimRow]]:
        """Its claims without a run, by the reason why."""
        groups: dict[str, list[ClaimRow]] = {}
        for row in self.claims:
            if row.status == "not run":
                groups.setdefault(row.reason, []).append(row)
        return groups


def commands(rows: list[ClaimRow]) -> list[str]:
    """Return the commands of some claims, each once."""
    return list(dict.fromkeys(command for row in rows for command in row.commands))


@dataclass(frozen=True)
class EnvironmentView:
    """A machine with its software, and the runs made there."""

    path: str
    used_by: str
    facts: list[tuple[str, str]]
    packages: list[tuple[str, str]]


def study_view(
    study: Study,
    entries: Entries,
    base: Path,
    references: References,
    stale: Collection[Path] = (),
) -> StudyView:
    """Gather what the page shows of a study; some records are stale, of older code.

    The first figure of the first run leads the study, and is not shown again with that run.
    """
    stated = study.claims
    own = [(path, record) for path, record in entries if record.study == study.name]
    own.sort(key=lambda entry: run_order(entry[1]))
    titles = run_titles(own)
    records = [record for _, record in own]
    runs = [
        run_view(
            study,
            stated.claims,
            path,
            record,
            titles[path],
            base,
            references,
            embedded=is_shown_whole(record, stated.claims, records),
            stale=path in stale,
        )
        for path, record in own
    ]
    shown = [run for run in runs if any(figure.uri for figure in run.figures)]
    lead = next((f for f in shown[0].figures if f.uri), None) if shown else None
    if lead:
        rest = [figure for figure in shown[0].figures if figure is not lead]
        runs[runs.index(shown[0])] = replace(shown[0], figures=rest)
        lead = replace(lead, name=f"{lead.name} ({shown[0].title})")
    runs = told_once(runs)
    shared = shared_texts([run.deviations for run in runs])
    runs = [
        replace(run, deviations=[text for text in run.deviations if text not in shared])
        for run in runs
    ]
    return StudyView(
        name=study.name,
        title=study.title,
        citation=citation(stated.paper),
        url=stated.paper.url,
        claims=claim_rows(study, own, base, stale),
        findings=findings(stated.findings, own),
        variants=variant_tables(stated.claims, own, base),
        across=across_views(study, [record for _, record in own]),
        lead=lead,
        deviations=shared,
        runs=without_repeats([run for run in runs if run.preset != "smoke"], lead),
        smoke_runs=[run for run in runs if run.preset == "smoke"],
    )


def shared_texts(lists: list[list[str]]) -> list[str]:
    """Return the texts that all of several lists have, in the order of the first."""
    if not lists:
        return []
    return [text for text in lists[0] if all(text in other for other in lists)]


def told_once(runs: list[RunView]) -> list[RunView]:
    """Return runs whose metrics are defined where they first appear in the page.

    Of runs that are shown whole, metrics are left out that an earlier one has with the same value:
    what learns nothing is the same beside every variant.
    """
    defined: set[tuple[str, str]] = set()
    told: set[tuple[str, str, str]] = set()

    def once(metric: MetricView) -> MetricView:
        known = (metric.key, metric.definition)
        if known in defined:
            return replace(metric, definition="")
        defined.add(known)
        return metric

    def of_run(run: RunView) -> RunView:
        is_whole = not run.n_metrics_left_out
        kept = [
            replace(g, metrics=[m for m in g.metrics if not (is_whole and m.as_told in told)])
            for g in run.metric_groups
        ]
        if is_whole:
            told.update(m.as_told for g in kept for m in g.metrics)
        sizes = [sum(len(g.metrics) for g in groups) for groups in (run.metric_groups, kept)]
        groups = [replace(g, metrics=[once(m) for m in g.metrics]) for g in kept if g.metrics]
        return replace(run, metric_groups=groups, n_repeated=sizes[0] - sizes[1])

    return [of_run(run) for run in runs]


def without_repeats(runs: list[RunView], lead: FigureView | None) -> list[RunView]:
    """Return runs whose figures are in the page once: those of one data set are alike."""
    seen = {lead.uri} if lead else set()

    def once(figures: list[FigureView]) -> list[FigureView]:
        kept = [replace(f, uri=None) if f.uri in seen else f for f in figures]
        seen.update(f.uri for f in kept if f.uri)
        return kept

    return [
        replace(run, figures=once(run.figures), worst_cases=once(run.worst_cases)) for run in runs
    ]


def run_order(record: Record) -> tuple:
    """Return what runs are sorted by: as published first, large before small, then by number.

    Of runs that differ in precision alone, float32 goes first.
    """
    scales = list(SCALES)
    scale = scales.index(record.preset) if record.preset in scales else -1
    parts = re.split(r"(\d+)", record.experiment)  # texts and numbers in turn
    natural = [int(part) if part.isdigit() else part for part in parts]
    after_faithful = record.variant != "faithful"
    return after_faithful, record.variant, -scale, natural, not record.in_float32


def citation(paper: Paper) -> str:
    """Write where a paper is found: authors, title, venue and year."""
    several = len(paper.authors) > 3
    names = f"{paper.authors[0]} et al." if several else write.sentence_list(paper.authors)
    return f"{names}, “{paper.title}”, {paper.venue} ({paper.year})."


def run_view(
    study: Study,
    claims: list[Claim],
    path: Path,
    record: Record,
    title: str,
    base: Path,
    references: References,
    embedded: bool,
    stale: bool = False,
) -> RunView:
    """Gather what the page shows of a record.

    If it is embedded, its figures, curves and all metrics are in the page; else the page names the
    files, tells the course of the training, and shows the metrics behind claims.
    """
    where = relative(path, base)
    figures = {
        name: figure_view(name, entry, path.parent, embedded)
        for name, entry in record.figures.items()
    }
    worst = [name for name in figures if "worst" in name.lower()]
    return RunView(
        study=study.name,
        study_title=study.title,
        anchor="run-" + re.sub(r"[^A-Za-z0-9]+", "-", where.removesuffix(".json")).strip("-"),
        path=where,
        href=quote(where),
        title=title,
        subtitle=run_subtitle(record),
        preset=record.preset,
        stale=stale,
        failed=record.status == "failed",
        reason=record.reason or "The record gives no reason.",
        commands=commands_of([record]),
        networks=network_views(record),
        curves=curve_views(record, references) if embedded else [],
        courses=[] if embedded else courses(record),
        figures=[view for name, view in figures.items() if name not in worst],
        worst_cases=[figures[name] for name in worst],
        metric_groups=metric_groups(record, claims, embedded),
        n_metrics_left_out=0 if embedded else len(record.metrics) - n_claimed(record, claims),
        n_repeated=0,
        deviations=list(dict.fromkeys([*study.deviations, *record.deviations])),
        provenance=provenance(record),
    )


def is_shown_whole(record: Record, claims: list[Claim], records: list[Record]) -> bool:
    """Whether all of a record is in the page, not only what claims rest on.

    That is so of the experiment that the first claim is about: of each variant the runs at the
    largest scale, in float32 if there is one, with most networks. The others are many and alike.
    """
    if record.experiment != claims[0].experiment:
        return False

    def rank(other: Record) -> tuple:
        return run_order(other)[2], not other.in_float32, -len(other.networks)

    kind = record.variant, record.experiment
    alike = [r for r in records if (r.variant, r.experiment) == kind and r.status == "ok"]
    return rank(record) <= min(map(rank, alike), default=rank(record))


def run_subtitle(record: Record) -> str:
    """Say in a line how many seeds were run and how long it took."""
    seeds = write.count(len(record.seeds), "seed")
    total = sum(timing.wall_s for timing in record.timings.values())
    return f"{seeds}, {write.duration(total)}" if record.timings else seeds


def network_views(record: Record) -> list[NetworkView]:
    """Put networks' sizes and recipes into words; networks that are alike share a row."""
    names: dict[str, list[str]] = {}
    for name, network in record.networks.items():
        names.setdefault(network.model_dump_json(), []).append(name)
    return [network_view(shared_name(alike), record.networks[alike[0]]) for alike in names.values()]


def shared_name(names: list[str]) -> str:
    """Name some networks: all of a few, of many the first."""
    if len(names) <= MOST_NAMES:
        labels = [write.uncapitalised(metric_label(name)) for name in names]
        return write.capitalised(write.sentence_list(labels))
    return f"{metric_label(names[0])} and {len(names) - 1} alike"


def network_view(name: str, entry: NetworkEntry) -> NetworkView:
    """Put a network's size and recipe into words."""
    recipe = ", ".join(
        f"{write.readable(k).lower()} {v}" for k, v in entry.recipe.items() if v is not None
    )
    return NetworkView(
        name=name,
        parameters=write.integer(entry.parameters),
        flops=NO_COST if entry.flops is None else write.large(entry.flops, "FLOP"),
        recipe=recipe or write.MISSING,
    )


def published_curves(studies: Mapping[str, Study]) -> References:
    """Return the training curves that the papers' authors published, by study and task."""
    return {
        (name, task): curve
        for name, study in studies.items()
        if study.published_curves is not None
        for task, curve in study.provided("published_curves").items()
    }


def curve_views(record: Record, references: References) -> list[FigureView]:
    """Draw the training curves of every network of a record."""
    if not any(record.curves.values()):
        return []
    from repro.reporting import figures

    views = []
    for task, seeds in record.curves.items():
        reference = references.get((record.study, task))
        beside = f", beside {reference.label}" if reference else ""
        views.append(
            drawn_view(
                figures.training_curves(seeds, reference),
                name=f"Training: {write.uncapitalised(metric_label(task))}",
                caption=f"Loss on training and validation samples, one line per seed{beside}.",
                command=record.command,
                alt=figures.describe_curves(seeds),
            )
        )
    return views


def courses(record: Record) -> list[str]:
    """Return the course of every training in a sentence or two."""
    from repro.reporting import figures

    return [
        f"{metric_label(task)}. {figures.describe_curves(seeds)}"
        for task, seeds in record.curves.items()
        if seeds
    ]


def across_views(study: Study, records: list[Record]) -> list[FigureView]:
    """Draw the study's figures that take several experiments, all of one protocol."""
    if study.comparison_figures is None:
        return []
    groups: dict[tuple[str, str, str], list[Record]] = {}
    for record in records:
        if record.metrics:
            groups.setdefault((record.variant, record.preset, protocol(record)), []).append(record)
    views = []
    for (variant, preset, _), group in groups.items():
        if len(group) < 2:
            continue
        values = {record.experiment: mean_metrics(record) for record in group}
        drawn = study.drawn(study.provided("comparison_figures")(values))
        for name, (figure, about) in drawn.items():
            caption = f"{about} Variant {variant}, preset {preset}."
            views.append(
                drawn_view(
                    figure,
                    name=write.readable(name),
                    caption=caption,
                    command="; ".join(record.command for record in group),
                    alt=caption,
                )
            )
    return views


def protocol(record: Record) -> str:
    """Return what records must share to be drawn in one line: recipes and sizes of the splits."""
    recipes = {task: network.recipe for task, network in record.networks.items()}
    counts = record.data.counts if record.data else None
    return json.dumps([recipes, counts], sort_keys=True)


def mean_metrics(record: Record) -> dict[str, float]:
    """Return a record's metrics by name, each the mean over its seeds."""
    return {name: fmean(metric.values.values()) for name, metric in record.metrics.items()}


def drawn_view(figure: Figure, **texts: str) -> FigureView:
    """Embed a figure that was just drawn."""
    from repro.reporting import figures

    content = figures.image(figure, ".svg")
    width, height = image_size(content, ".svg") or (0, 0)
    return FigureView(**texts, uri=data_uri(content, ".svg"), width=width, height=height)


def metric_groups(
    record: Record, claims: list[Claim], with_others: bool = True
) -> list[MetricGroup]:
    """Group a record's metrics by how their keys begin: baselines first, those of claims last.

    Parameters
    ----------
    record : Record
        The record.
    claims : list of Claim
        Those of its study.
    with_others : bool
        Whether metrics that no claim is about are shown too.
    """
    groups: dict[str, list[MetricView]] = {}
    for name, metric in record.metrics.items():
        claimed = is_claimed(name, claims)
        if claimed or with_others:
            group = BEHIND_CLAIMS if claimed else group_name(name)
            groups.setdefault(group, []).append(metric_view(name, metric, len(record.seeds)))
    views = [MetricGroup(name, metrics) for name, metrics in groups.items()]
    return sorted(views, key=lambda g: (not g.is_baseline, g.name == BEHIND_CLAIMS, g.name))


def n_claimed(record: Record, claims: list[Claim]) -> int:
    """Return how many metrics of a record claims are about."""
    return sum(is_claimed(name, claims) for name in record.metrics)


def is_claimed(name: str, claims: list[Claim]) -> bool:
    """Tell whether a claim is about a metric."""
    patterns = (pattern.rpartition(":")[2] for claim in claims for pattern in claim.metrics)
    return any(names_metric(pattern, name) for pattern in patterns)


def group_name(metric: str) -> str:
    """Return the heading a metric stands under: its key up to the first slash."""
    head, slash, _ = metric.partition("/")
    if slash:
        return metric_label(head)
    return "Baseline" if "baseline" in metric else "Others"


def metric_view(key: str, metric: RecordedMetric, n_seeds: int) -> MetricView:
    """Put a metric into words: mean over seeds, and standard deviation if there are several."""
    values = list(metric.values.values())
    text = write.number(float(np.mean(values)) if values else None)
    if len(values) > 1:
        text = write.plus_minus(float(np.mean(values)), float(np.std(values, ddof=1)))
    of_fewer = f" ({write.count(len(values), 'seed')})" if len(values) != n_seeds else ""
    return MetricView(
        key=key,
        label=metric_label(key),
        value=write.with_unit(text, metric.unit) + of_fewer,
        better={"lower": "lower", "higher": "higher"}.get(metric.better, write.MISSING),
        definition=metric.definition,
    )


def provenance(record: Record) -> dict[str, list[tuple[str, str]]]:
    """Return what explains a record's numbers, by heading."""
    flags = record.environment.flags.model_dump()
    flags["variables"] = " ".join(f"{k}={v}" for k, v in flags["variables"].items()) or "none set"
    made = {"Day of evaluation, UTC": record.date, "Commit": record.commit}
    return {
        "Origin": [(name, text) for name, text in made.items() if text],
        "Data": data_facts(record),
        "Time": [(write.readable(stage), timing_text(t)) for stage, t in record.timings.items()],
        "Settings": [(write.readable(k), yes_no(v)) for k, v in flags.items()],
        "Hashes": [(write.readable(k), v) for k, v in record.hashes.model_dump().items()],
    }


def data_facts(record: Record) -> list[tuple[str, str]]:
    """Return which data set a record stands on; nothing if the run failed before it had one."""
    data = record.data
    if data is None:
        return []
    return [
        ("Data set", f"{data.name}, version {data.version}"),
        ("Samples", ", ".join(f"{write.integer(n)} {split}" for split, n in data.counts.items())),
        *((name, str(value)) for name, value in data.parameters.items()),
        ("Fingerprint", data.fingerprint),
        ("Checksum", data.checksum),
    ]


def timing_text(timing: Timing) -> str:
    """Write the time of a stage and its rate, where it has one."""
    parts = [write.duration(timing.wall_s)]
    if timing.device_s is not None:
        parts.append(f"{write.duration(timing.device_s)} on the device")
    if timing.samples_per_s:  # a stage that took no samples has none
        parts.append(f"{write.number(timing.samples_per_s, 3)} samples/s")
    return ", ".join(parts)


def yes_no(value: Any) -> str:
    """Write a switch as a word."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)


def environments(entries: Entries, base: Path) -> list[EnvironmentView]:
    """Return each machine and software once, with the runs made there."""
    titles: dict[Path, str] = {}
    for study in dict.fromkeys(record.study for _, record in entries):
        own = [(path, record) for path, record in entries if record.study == study]
        titles |= {path: f"{study} {title}" for path, title in run_titles(own).items()}
    groups: dict[str, Entries] = {}
    for path, record in entries:
        key = record.environment.model_dump_json(exclude={"flags"})
        groups.setdefault(key, []).append((path, record))
    return [environment_view(group, titles, base) for group in groups.values()]


def environment_view(entries: Entries, titles: dict[Path, str], base: Path) -> EnvironmentView:
    """Put the machine and software that some records share into words."""
    path, record = entries[0]
    machine = record.environment
    used = "; ".join(titles[path] for path, _ in entries)
    return EnvironmentView(
        path=relative(path, base),
        used_by=f"{write.count(len(entries), 'run')}: {used}",
        facts=[
            ("Processor", f"{machine.processor}, {write.count(machine.cores, 'core')}"),
            ("Memory", f"{machine.memory_gb:.0f} GB"),
            ("Graphics processor", machine.gpu or "none"),
            ("Python", machine.python),
        ],
        packages=sorted(machine.packages.items()),
    )
