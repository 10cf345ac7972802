"""From a trained run to its record: measure, draw, judge, and gather what explains the numbers."""

from __future__ import annotations

import csv
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from repro.bench.flops import network_cost
from repro.datasets.atomic import replacing
from repro.datasets.store import Dataset
from repro.errors import ReproError
from repro.evaluation import provenance
from repro.evaluation.metrics import Evaluation
from repro.evaluation.records import (
    DataEntry,
    Environment,
    FigureEntry,
    Flags,
    NetworkEntry,
    Record,
    RecordedMetric,
    Timing,
    write_record,
)
from repro.evaluation.verdicts import judge
from repro.measured import is_archive, judged_by
from repro.runs import (
    ARCHIVE_FILE,
    BUILD_TIME_FILE,
    DATA_FILE,
    RECORD_FILE,
    SILENT,
    Choices,
    Display,
    Progress,
    check_same_run,
    network_folder,
    open_data,
    prepare_and_train,
    read_run_files,
    resolved_tasks,
    run_file,
    seed_folder,
    trained_models,
)
from repro.study import Study, Task, get_study
from repro.training.launchers import launched_as_leader

if TYPE_CHECKING:
    import keras

MOST_EPOCHS = 120  # of a curve in a record
HELD_OUT = "train with samples held out"  # the stage of all networks that do
Curves = dict[str, dict[str, dict[str, list[float]]]]


@dataclass(frozen=True)
class TrainedRun:
    """A run whose networks are trained: what `evaluate` starts from."""

    folder: Path
    study: Study
    choices: Choices
    seeds: list[int]
    dataset: Dataset
    tasks: list[Task]
    data_file: str | None
    archive: Path | None
    judged: Dataset
    results: Path

    @classmethod
    def open(cls, folder: Path, data: Path | None = None) -> TrainedRun:
        """Read a run's folder.

        Parameters
        ----------
        folder : Path
            The run's folder.
        data : Path, optional
            The data set it was trained on, unless that is in the folder; or an archive of samples
            to judge it by.

        Raises
        ------
        ReproError
            If it holds no run, its data set is missing, or data or recipes have changed since.
        """
        runs = read_run_files(folder)
        if not runs:
            raise ReproError(f"{folder} holds no run: make one with `repro train`.")
        choices = runs[0].choices
        study = get_study(choices.study)
        archive = data if data is not None and is_archive(study, data) else None
        own = folder / DATA_FILE if data is None or archive else data
        if own != data and not own.exists():
            raise ReproError(f"{folder} has no {DATA_FILE}: give its data set with --data FILE.")
        dataset = open_data(choices, own)
        tasks = resolved_tasks(choices, dataset)
        check_same_run(folder, run_file(choices, runs[0].seed, tasks, dataset))
        made_of = folder / ARCHIVE_FILE
        source = data.name if data else made_of.read_text().strip() if made_of.exists() else None
        return cls(
            folder=folder,
            study=study,
            choices=choices,
            seeds=[run.seed for run in runs],
            dataset=dataset,
            tasks=tasks,
            data_file=source,
            archive=archive,
            judged=dataset,
            results=folder,
        )

    def judged_by_archive(self) -> TrainedRun:
        """Return the run as it is judged by the archive, if that has samples new to it."""
        if self.archive is None:
            return self
        results = self.folder / f"on-{self.archive.stem}"
        judged = judged_by(self.study, self.dataset, self.archive, results / DATA_FILE)
        return self if judged is self.dataset else replace(self, judged=judged, results=results)


def run(
    choices: Choices,
    seeds: list[int],
    out: Path,
    data: Path | None = None,
    workers: int = 1,
    display: Display = SILENT,
    devices: int = 1,
    timeout_s: float | None = None,
) -> Record | None:
    """Go the whole way from the data spec to the record; called again, resume.

    Returns
    -------
    Record or None
        The record; none on the ranks of a job that do not lead.

    Raises
    ------
    ReproError
        If a stage fails; what was done stays, and a record says why the run failed.
    """
    try:
        if prepare_and_train(choices, seeds, out, data, workers, display, devices, timeout_s):
            return evaluate(out, data, display)
    except ReproError as error:
        if launched_as_leader():
            record_failure(choices, out, data, str(error))
        raise
    return None


def record_failure(choices: Choices, folder: Path, data: Path | None, reason: str) -> None:
    """Write the record of a run that failed, unless the folder has a record or another run."""
    try:
        trained = TrainedRun.open(folder, data)
    except ReproError:
        return
    if trained.choices == choices and not (folder / RECORD_FILE).exists():
        write_record(assemble(trained, {}, {}, reason=reason), folder / RECORD_FILE)


def evaluate(folder: Path, data: Path | None = None, display: Display = SILENT) -> Record:
    """Measure the trained networks of every seed, draw the figures, judge, write the record.

    Given an archive that the networks were not trained on, they are judged by it, and the results
    go to the folder ``on-NAME`` within the run's.

    Raises
    ------
    ReproError
        If the folder holds no run, a network is not trained to the end, or the data set is
        another than the one the run was trained on.
    """
    from repro.training.precision import enable_determinism

    trained = TrainedRun.open(folder, data).judged_by_archive()
    if trained.choices.deterministic:
        enable_determinism()
    evaluations, start = {}, time.perf_counter()
    for seed in trained.seeds:
        models = trained_models(trained.tasks, folder, seed)
        with display.bar(f"evaluate {trained.study.name}, seed {seed}") as progress:
            evaluations[seed] = measure(trained, models, seed, progress)
        arrays = seed_folder(trained.results, seed) / "evaluation.npz"
        save_arrays(arrays, evaluations[seed].arrays)
    record = assemble(trained, evaluations, models, time.perf_counter() - start)
    write_record(record, trained.results / RECORD_FILE)
    return record


def measure(
    trained: TrainedRun, models: dict[str, keras.Model], seed: int, progress: Progress
) -> Evaluation:
    """Measure the networks of one seed on the test split."""
    return trained.study.evaluate(
        trained.choices.variant,
        trained.judged,
        models,
        {t.name: read_history(network_folder(trained.folder, seed, t.name)) for t in trained.tasks},
        seed,
        progress,
    )


def save_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write arrays to an ``.npz`` file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, **arrays)


def assemble(
    trained: TrainedRun,
    evaluations: dict[int, Evaluation],
    models: dict[str, keras.Model],
    evaluation_seconds: float | None = None,
    reason: str = "",
) -> Record:
    """Put together the record of a run, verdicts included; figures are drawn on the way.

    Parameters
    ----------
    trained : TrainedRun
        The run.
    evaluations : dict
        What was measured, by seed.
    models : dict
        One trained network a task, of any seed, to count what it holds.
    evaluation_seconds : float, optional
        How long the evaluation took [s].
    reason : str
        Why the run failed; empty if it did not.
    """
    metrics, data, curves = recorded_metrics(evaluations), data_entry(trained), read_curves(trained)
    environment = resolved_environment(trained, curves)
    record = Record(
        study=trained.study.name,
        variant=trained.choices.variant,
        preset=trained.choices.preset,
        experiment=trained.dataset.spec.experiment,
        seeds=trained.seeds,
        status="failed" if reason else "ok",
        reason=reason,
        command=command(trained, environment.flags),
        metrics=metrics,
        curves=recorded_curves(trained.tasks, curves),
        figures=draw_figures(trained, evaluations) if evaluations else {},
        data=data,
        networks=network_entries(trained.tasks, models) if models else {},
        hashes=provenance.hashes(
            trained.study.name, metrics, data, configuration(trained), environment
        ),
        timings=timings(trained, curves, evaluation_seconds),
        environment=environment,
        deviations=[*trained.study.deviations, *trained.dataset.spec.card.deviations],
    )
    verdicts = [judge(claim, [record]) for claim in trained.study.claims.claims]
    return record.model_copy(update={"verdicts": verdicts})


def data_entry(trained: TrainedRun) -> DataEntry:
    """Return what a record says of the data set."""
    spec = trained.judged.spec
    return DataEntry(
        name=spec.name,
        version=spec.version,
        fingerprint=spec.fingerprint,
        checksum=trained.judged.checksum,
        counts=spec.counts,
        parameters=spec.parameters,
    )


def resolved_environment(trained: TrainedRun, curves: Curves) -> Environment:
    """Return machine, packages and the flags the networks were trained under."""
    from repro.training.recipe import is_compiled

    recipes = [task.recipe for task in trained.tasks]
    histories = [columns for seeds in curves.values() for columns in seeds.values()]
    workers = {workers for columns in histories for workers in columns.get("workers", ())}
    return provenance.environment(
        precision=", ".join(sorted({recipe.precision for recipe in recipes})),
        xla=any(is_compiled(recipe.jit_compile) for recipe in recipes),
        determinism=trained.choices.deterministic,
        world_size=int(max(workers, default=1)),
    )


def configuration(trained: TrainedRun) -> dict[str, Any]:
    """Return all that was chosen for a run, as JSON values."""
    return {
        **trained.choices.model_dump(mode="json"),
        "seeds": trained.seeds,
        "recipes": {task.name: asdict(task.recipe) for task in trained.tasks},
    }


def recorded_metrics(evaluations: dict[int, Evaluation]) -> dict[str, RecordedMetric]:
    """Turn evaluations by seed into metrics by name, each with its value by seed.

    Raises
    ------
    ReproError
        If two seeds yield different metrics, or the same name with another meaning.
    """
    if not evaluations:
        return {}
    first, *others = (evaluation.metrics for evaluation in evaluations.values())
    meanings = {name: replace(metric, value=0.0) for name, metric in first.items()}
    for other in others:
        if meanings != {name: replace(metric, value=0.0) for name, metric in other.items()}:
            raise ReproError("Two seeds yield different metrics: evaluate must not depend on it.")
    return {
        name: RecordedMetric(
            unit=metric.unit,
            better=metric.better,
            definition=metric.definition,
            values={str(seed): e.metrics[name].value for seed, e in evaluations.items()},
        )
        for name, metric in first.items()
    }


def draw_figures(trained: TrainedRun, evaluations: dict[int, Evaluation]) -> dict[str, FigureEntry]:
    """Draw the study's figures into the run's folder."""
    from repro.reporting.figures import save

    arrays = {seed: evaluation.arrays for seed, evaluation in evaluations.items()}
    entries, words = {}, ["evaluate", trained.folder.resolve().name]
    if trained.judged is not trained.dataset:
        words += ["--data", trained.data_file]
    for name, (figure, caption) in trained.study.figures(arrays).items():
        path = save(figure, trained.results / "figures" / f"{name}.svg")
        entries[name] = FigureEntry(
            file=path.relative_to(trained.results).as_posix(),
            caption=caption,
            command=provenance.command_line(words),
        )
    return entries


def network_entries(tasks: list[Task], models: dict[str, keras.Model]) -> dict[str, NetworkEntry]:
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
    recipe = asdict(task.recipe)
    return NetworkEntry(parameters=model.count_params(), flops=flops, recipe=recipe)


def read_curves(trained: TrainedRun) -> Curves:
    """Read the history of every training: by task, seed and column."""
    return {
        task.name: {
            str(seed): read_history(network_folder(trained.folder, seed, task.name))
            for seed in trained.seeds
        }
        for task in trained.tasks
    }


def recorded_curves(tasks: list[Task], curves: Curves) -> Curves:
    """Return the curves that a record keeps: of networks that hold nothing out, thinned."""
    return {
        task.name: {seed: thinned(columns) for seed, columns in curves[task.name].items()}
        for task in tasks
        if not task.held_out
    }


def thinned(columns: dict[str, list[float]]) -> dict[str, list[float]]:
    """Return a history with fewer epochs, the first, the last and the best among them."""
    n = len(columns.get("epoch", ()))
    if n <= MOST_EPOCHS:
        return columns
    losses = np.array(columns.get("val_loss", columns["loss"]))
    kept = {*np.linspace(0, n - 1, MOST_EPOCHS).astype(int).tolist(), int(np.nanargmin(losses))}
    return {name: [values[i] for i in sorted(kept)] for name, values in columns.items()}


def read_history(folder: Path) -> dict[str, list[float]]:
    """Read a training's ``history.csv``: a list of numbers a column; none before it is there."""
    if not (folder / "history.csv").exists():
        return {}
    with (folder / "history.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {column: [float(row[column]) for row in rows] for column in (rows[0] if rows else ())}


def timings(
    trained: TrainedRun, curves: Curves, evaluation_seconds: float | None
) -> dict[str, Timing]:
    """Return wall time [s] and rate [samples/s] of each stage, resumed parts included."""
    spec, stages = trained.judged.spec, {}
    built = trained.folder / BUILD_TIME_FILE
    if trained.data_file is None and built.exists():
        stages["data"] = _timing(float(built.read_text()), spec.n_samples)
    trainings: dict[str, list[float]] = {}
    for task in trained.tasks:
        seeds = curves[task.name].values()
        epochs = sum(len(columns.get("epoch", [])) for columns in seeds)
        stage = trainings.setdefault(HELD_OUT if task.held_out else f"train {task.name}", [0.0, 0])
        stage[0] += sum(sum(columns.get("seconds", [])) for columns in seeds)
        stage[1] += epochs * len(task.examples_of(trained.dataset)[0])
    stages |= {name: _timing(*stage) for name, stage in trainings.items()}
    if evaluation_seconds is not None:
        n_samples = len(trained.seeds) * spec.counts["test"]
        stages["evaluate"] = _timing(evaluation_seconds, n_samples)
    return stages


def command(trained: TrainedRun, flags: Flags) -> str:
    """Return the command that makes this run from nothing, folders by their names alone.

    Of a run that is judged by other samples, the command that judges it.
    """
    choices = trained.choices
    if trained.judged is not trained.dataset:
        words = ["evaluate", trained.folder.resolve().name, "--data", trained.data_file]
        return provenance.command_line(words)
    words = ["run", choices.study, "--variant", choices.variant, "--preset", choices.preset]
    if choices.experiment or trained.data_file is None:  # a given file says which it is
        words += ["--experiment", trained.dataset.spec.experiment]
    words += ["--seeds", ",".join(map(str, trained.seeds))]
    for key, value in choices.settings.items():
        words += ["--set", f"{key}={value}"]
    if choices.precision is not None:
        words += ["--precision", choices.precision]
    if choices.xla is not None:
        words += ["--xla" if choices.xla else "--no-xla"]
    if choices.deterministic:
        words += ["--deterministic"]
    if trained.data_file is not None:
        words += ["--data", trained.data_file]
    if flags.backend == "jax" and flags.world_size > 1:
        words += ["--devices", str(flags.world_size)]
    typed = provenance.command_line([*words, "--out", trained.folder.resolve().name])
    if flags.backend != "tensorflow":
        return f"KERAS_BACKEND={flags.backend} {typed}"
    return f"horovodrun -np {flags.world_size} {typed}" if flags.world_size > 1 else typed


def _timing(seconds: float, n_samples: int) -> Timing:
    return Timing(wall_s=seconds, samples_per_s=n_samples / seconds if seconds > 0 else None)
