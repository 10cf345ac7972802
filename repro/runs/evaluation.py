"""Evaluation: measure the trained networks of every seed, draw the figures, write the record."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from repro.display import SILENT, Display
from repro.evaluation import provenance
from repro.evaluation.metrics import Evaluation
from repro.evaluation.records import FigureEntry, Record, write_record
from repro.files import make_folder, replacing
from repro.runs.folder import RECORD_FILE, seed_folder
from repro.runs.record import assemble
from repro.runs.run import Run

if TYPE_CHECKING:
    from repro.study import Trained


def evaluate(run: Run, display: Display = SILENT) -> Record:
    """Measure the trained networks of every seed, draw the figures, judge, write the record.

    Raises
    ------
    ReproError
        If a network is not trained to the end.
    """
    from repro.training.precision import enable_determinism

    if run.choices.deterministic:
        enable_determinism()
    run.check_trained()
    evaluations, start = {}, time.perf_counter()
    for seed in run.seeds:
        trained = run.trained(seed)
        evaluations[seed] = measure(run, trained, display)
        save_arrays(seed_folder(run.results, seed) / "evaluation.npz", evaluations[seed].arrays)
    seconds = time.perf_counter() - start
    figures = draw_figures(run, {seed: e.arrays for seed, e in evaluations.items()})
    record = assemble(run, evaluations, figures, trained.models, seconds)
    write_record(record, run.results / RECORD_FILE)
    return record


def measure(run: Run, trained: Trained, display: Display = SILENT) -> Evaluation:
    """Measure the networks of one seed on the test split."""
    with display.bar(f"evaluate {run.study.name}, seed {trained.seed}") as progress:
        return run.study.provided("evaluate")(trained, progress)


def save_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write arrays to an ``.npz`` file, whole or not at all."""
    make_folder(path.parent)
    with replacing(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, **arrays)


def draw_figures(run: Run, arrays: dict[int, dict[str, np.ndarray]]) -> dict[str, FigureEntry]:
    """Draw the study's figures from the arrays of every seed into the run's folder."""
    from repro.reporting.figures import save

    entries, words = {}, ["evaluate", run.folder.resolve().name]
    if run.is_judged_by_others:
        words += ["--data", run.source]
    figures = run.study.drawn(run.study.provided("figures")(arrays))
    for name, (figure, caption) in figures.items():
        path = save(figure, run.results / "figures" / f"{name}.svg")
        entries[name] = FigureEntry(
            file=path.relative_to(run.results).as_posix(),
            caption=caption,
            command=provenance.command_line(words),
        )
    return entries
