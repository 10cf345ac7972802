"""The record of a run: its metrics, and all that explains them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from repro.bench.flops import network_cost
from repro.bench.machine import code_version
from repro.errors import ReproError
from repro.evaluation import provenance
from repro.evaluation.claims import Claim
from repro.evaluation.metrics import Evaluation, Metric
from repro.evaluation.protocol import differing_fields
from repro.evaluation.records import (
    DataEntry,
    Environment,
    FigureEntry,
    Flags,
    NetworkEntry,
    Record,
    RecordedMetric,
    SampledMetric,
    Timing,
    write_record,
)
from repro.evaluation.resampling import average
from repro.runs.data import Given
from repro.runs.folder import RECORD_FILE, read_build_time
from repro.study import History, Task
from repro.training.ways import ONE_BY_ONE, WAYS, default_way

if TYPE_CHECKING:
    import keras

    from repro.runs.run import Run

MOST_EPOCHS = 120  # of a curve in a record
HELD_OUT = "train with samples held out"  # the stage of all networks that do
Curves = dict[str, dict[str, History]]  # by task and seed


def write_failure(run: Run, reason: str) -> None:
    """Write the record of a run that failed, unless it has a record."""
    path = run.results / RECORD_FILE
    if not path.exists():
        write_record(assemble(run, {}, {}, {}, reason=reason), path)


def assemble(
    run: Run,
    evaluations: Mapping[int, Evaluation],
    figures: dict[str, FigureEntry],
    models: Mapping[str, keras.Model],
    evaluation_seconds: float | None = None,
    reason: str = "",
) -> Record:
    """Put together the record of a run.

    Parameters
    ----------
    run : Run
        The run.
    evaluations : mapping
        What was measured, by seed.
    figures : dict
        The figures that were drawn.
    models : mapping
        One trained network a task, of any seed, to count what it holds.
    evaluation_seconds : float, optional
        How long the evaluation took [s].
    reason : str
        Why the run failed; empty if it did not.
    """
    claims = run.study.claims.claims
    claimed = [claim.place_of(name)[1] for claim in claims for name in claim.metrics]
    metrics = recorded_metrics(evaluations, claimed)
    data, curves = data_entry(run), read_curves(run)
    environment = resolved_environment(run, curves)
    record = Record(
        study=run.study.name,
        variant=run.choices.variant,
        preset=run.choices.preset,
        experiment=run.dataset.spec.experiment,
        seeds=list(run.seeds),
        status="failed" if reason else "ok",
        reason=reason,
        command=command(run, environment.flags),
        data_command=data_command(run),
        date=datetime.now(UTC).date().isoformat(),
        commit=code_version(),
        metrics=metrics,
        curves=recorded_curves(run.tasks.values(), curves),
        figures=figures,
        chosen_networks=list(run.choices.networks),
        data=data,
        networks=network_entries(run.tasks.values(), models) if models else {},
        hashes=provenance.hashes(run.study.name, metrics, data, configuration(run), environment),
        timings=timings(run, curves, evaluation_seconds),
        environment=environment,
        deviations=[
            *run.study.deviations,
            *run.dataset.spec.card.deviations,
            *what_is_left_out(evaluations),
        ],
    )
    differing = [*record.deviations, *differences_from_paper(record, claims)]
    return record.model_copy(update={"deviations": differing})


def differences_from_paper(record: Record, claims: Iterable[Claim]) -> list[str]:
    """Return in what a run differs from those that the claims on its variant are about."""
    about = [
        c for c in claims if c.variant == record.variant and record.experiment in c.experiments
    ]
    fields = [differing_fields(claim, record.experiment, record) for claim in about]
    texts = dict.fromkeys(text for differing in fields for text in differing.values())
    return [f"This run has {text}." for text in texts]


def data_entry(run: Run) -> DataEntry:
    """Return what a record says of the data set."""
    spec = run.judged.spec
    return DataEntry(
        name=spec.name,
        version=spec.version,
        fingerprint=spec.fingerprint,
        checksum=run.judged.checksum,
        counts={str(split): n for split, n in spec.counts.items()},
        parameters=spec.parameters,
    )


def resolved_environment(run: Run, curves: Curves) -> Environment:
    """Return machine, packages and the flags the networks were trained under."""
    from repro.training.recipe import is_compiled

    recipes = [task.recipe for task in run.tasks.values()]
    histories = [columns for seeds in curves.values() for columns in seeds.values()]
    workers = {workers for columns in histories for workers in columns.get("workers", ())}
    return provenance.environment(
        precision=", ".join(sorted({recipe.precision for recipe in recipes})),
        xla=any(is_compiled(recipe.jit_compile) for recipe in recipes),
        determinism=run.choices.deterministic,
        world_size=int(max(workers, default=1)),
        steps=", ".join(run.ways()) or ONE_BY_ONE,
    )


def configuration(run: Run) -> dict[str, Any]:
    """Return all that was chosen for a run, as JSON values."""
    return {
        **run.choices.model_dump(mode="json"),
        "seeds": list(run.seeds),
        "recipes": {name: task.recipe.described() for name, task in run.tasks.items()},
    }


def recorded_metrics(
    evaluations: Mapping[int, Evaluation], claimed: Collection[str] = ()
) -> dict[str, RecordedMetric]:
    """Turn evaluations by seed into metrics by name, each with its value by seed.

    Parameters
    ----------
    evaluations : mapping
        What was measured, by seed.
    claimed : collection of str
        The metrics that claims name, with ``*`` at the end for several: of these the record keeps
        how they vary over resamples of the test split.

    Raises
    ------
    ReproError
        If two seeds yield different metrics, or the same name with another meaning.
    """
    if not evaluations:
        return {}
    left_out = undefined_somewhere(evaluations)
    meanings = [
        {
            name: (m.unit, m.better, m.definition)
            for name, m in evaluation.metrics.items()
            if name not in left_out
        }
        for evaluation in evaluations.values()
    ]
    if any(other != meanings[0] for other in meanings):
        raise ReproError("Two seeds yield different metrics: evaluate must not depend on it.")
    recorded = {}
    for name, (unit, better, definition) in meanings[0].items():
        metrics = {str(seed): e.metrics[name] for seed, e in evaluations.items()}
        recorded[name] = RecordedMetric(
            unit=unit,
            better=better,
            definition=definition,
            values={seed: metric.value for seed, metric in metrics.items()},
            sampled=sampled(metrics.values()) if named(name, claimed) else None,
        )
    return recorded


def undefined_somewhere(evaluations: Mapping[int, Evaluation]) -> dict[str, list[int]]:
    """Return metrics that some seeds have a value of and others have none, with those others.

    A mean over the seeds that have one would be a mean over those that did well.
    """
    measured = {name for evaluation in evaluations.values() for name in evaluation.metrics}
    without = {
        name: [seed for seed, found in evaluations.items() if name in found.undefined]
        for name in sorted(measured)
    }
    return {name: seeds for name, seeds in without.items() if seeds}


def what_is_left_out(evaluations: Mapping[int, Evaluation]) -> list[str]:
    """Return a sentence for metrics that are not recorded, since not every seed has them."""
    left_out = undefined_somewhere(evaluations)
    if not left_out:
        return []
    named = ", ".join(
        f"{name} (none for seed {', '.join(map(str, seeds))})" for name, seeds in left_out.items()
    )
    return [f"Metrics that have no value for every seed are left out: {named}."]


def named(metric: str, names: Collection[str]) -> bool:
    """Whether one of some names, whose end may be ``*``, means this metric."""
    return any(fnmatchcase(metric, name) for name in names)


def sampled(metrics: Iterable[Metric]) -> SampledMetric | None:
    """Return how a metric varies over resamples of the test split, mean over seeds."""
    known = [metric.resampled for metric in metrics]
    over_seeds = [resampled for resampled in known if resampled is not None]
    if len(over_seeds) < len(known):
        return None
    mean, first = average(over_seeds), over_seeds[0]
    return SampledMetric(
        unit=first.unit,
        split=first.split,
        n_units=first.n_units,
        n_samples=first.n_samples,
        is_share=first.is_share,
        deviations=[float(f"{x:.4g}") for x in mean.values[1:] - mean.values[0]],
    )


def network_entries(
    tasks: Iterable[Task], models: Mapping[str, keras.Model]
) -> dict[str, NetworkEntry]:
    """Return what networks hold and cost; of those that hold samples out, one of a kind."""
    entries, kinds = {}, set()
    for task in tasks:
        kind = models[task.name].count_params(), task.recipe
        if not (task.held_out and kind in kinds):
            entries[task.name] = network_entry(task, models[task.name])
        kinds.add(kind)
    return entries


def network_entry(task: Task, model: keras.Model) -> NetworkEntry:
    """Return what a network holds and costs; no cost where a layer's is not known."""
    try:
        flops = network_cost(model).flops
    except ReproError:
        flops = None
    recipe = task.recipe.described()
    return NetworkEntry(parameters=model.count_params(), flops=flops, recipe=recipe)


def read_curves(run: Run) -> Curves:
    """Read the history of every training: by task, seed and column."""
    return {name: {str(seed): run.history(seed, name) for seed in run.seeds} for name in run.tasks}


def recorded_curves(tasks: Iterable[Task], curves: Curves) -> Curves:
    """Return the curves that a record keeps: of networks that hold nothing out, thinned."""
    return {
        task.name: {seed: thinned(columns) for seed, columns in curves[task.name].items()}
        for task in tasks
        if not task.held_out
    }


def thinned(columns: History) -> History:
    """Return a history with fewer epochs, the first, the last and the best among them."""
    n = len(columns.get("epoch", ()))
    if n <= MOST_EPOCHS:
        return columns
    losses = np.array(columns.get("val_loss", columns["loss"]))
    kept = {*np.linspace(0, n - 1, MOST_EPOCHS).astype(int).tolist(), int(np.nanargmin(losses))}
    return {name: [values[i] for i in sorted(kept)] for name, values in columns.items()}


def timings(run: Run, curves: Curves, evaluation_seconds: float | None) -> dict[str, Timing]:
    """Return wall time [s] and rate [samples/s] of each stage, resumed parts included."""
    spec, stages = run.judged.spec, {}
    built = read_build_time(run.folder)
    if run.source is None and built is not None:
        stages["data"] = _timing(built, spec.n_samples)
    trainings: dict[str, tuple[float, int]] = {}
    for task in run.tasks.values():
        seeds = curves[task.name].values()
        epochs = sum(len(columns.get("epoch", [])) for columns in seeds)
        stage = HELD_OUT if task.held_out else f"train {task.name}"
        taken, n = trainings.get(stage, (0.0, 0))
        taken += sum(sum(columns.get("seconds", [])) for columns in seeds)
        trainings[stage] = taken, n + epochs * len(task.examples_of(run.dataset)[0])
    stages |= {name: _timing(*stage) for name, stage in trainings.items()}
    if evaluation_seconds is not None:
        n_samples = len(run.seeds) * spec.counts["test"]
        stages["evaluate"] = _timing(evaluation_seconds, n_samples)
    return stages


def command(run: Run, flags: Flags) -> str:
    """Return the command that makes this run from nothing, folders by their names alone.

    Of a run that is judged by other samples, the command that judges it.
    """
    choices = run.choices
    if run.is_judged_by_others and run.source is not None:
        words = ["evaluate", run.folder.resolve().name, "--data", run.source]
        return provenance.command_line(words)
    words = ["run", choices.study, "--variant", choices.variant, "--preset", choices.preset]
    if choices.experiment or run.source is None:  # a given file says which it is
        words += ["--experiment", run.dataset.spec.experiment]
    words += ["--seeds", ",".join(map(str, run.seeds))]
    for key, value in choices.settings.items():
        words += ["--set", f"{key}={value}"]
    if choices.precision is not None:
        words += ["--precision", choices.precision]
    if choices.xla is not None:
        words += ["--xla" if choices.xla else "--no-xla"]
    if choices.deterministic:
        words += ["--deterministic"]
    if choices.networks:
        words += ["--networks", ",".join(choices.networks)]
    if run.source is not None:
        words += ["--data", run.source]
    if flags.backend == "jax" and flags.world_size > 1:
        words += ["--devices", str(flags.world_size)]
    if flags.steps in WAYS and flags.steps != default_way(flags.backend):
        words += ["--steps", flags.steps]
    typed = provenance.command_line([*words, "--out", run.folder.resolve().name])
    if flags.backend != "tensorflow":
        return f"KERAS_BACKEND={flags.backend} {typed}"
    return f"horovodrun -np {flags.world_size} {typed}" if flags.world_size > 1 else typed


def data_command(run: Run) -> str:
    """Return the command that makes the file that a run was given; empty if it had none.

    Of other samples that judge a run, nobody knows it.
    """
    if run.source is None or run.is_judged_by_others:
        return ""
    study, spec, out = run.study, run.dataset.spec, ["--out", run.source]
    given = Given.of(study, Path(run.source))
    if given is not None and given.archive is not None:
        return provenance.command_line(["data", "fetch", study.name, *out])
    words = ["data", "build", study.name, "--preset", spec.preset]
    words += ["--experiment", spec.experiment, "--seed", str(spec.seed)]
    for key, value in run.choices.data_settings.items():
        words += ["--set", f"{key}={value}"]
    return provenance.command_line([*words, *out])


def _timing(seconds: float, n_samples: int) -> Timing:
    return Timing(wall_s=seconds, samples_per_s=n_samples / seconds if seconds > 0 else None)
