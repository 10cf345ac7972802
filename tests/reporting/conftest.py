"""Records, studies and folders for the tests of figures, tables and the report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from repro.evaluation.claims import Claims
from repro.evaluation.records import Record, write_record
from repro.reporting import figures


@dataclass(frozen=True)
class SmallStudy:
    name: str
    title: str
    claims: Claims
    deviations: tuple[str, ...] = field(default=())

    published_curves = None
    comparison_figures = "figures:thickness_figure"

    def provided(self, capability: str) -> Callable:
        assert capability == "comparison_figures"
        return thickness_figure

    def drawn(self, figures: dict) -> dict:
        return {name: (figure, "Score against thickness.") for name, figure in figures.items()}


def thickness_figure(values: dict[str, dict[str, float]]) -> dict:
    figure, axes = figures.new_figure()
    axes[0, 0].plot(sorted(values), range(len(values)))
    return {"thickness": figure}


def metric(*values: float, unit: str = "1", better: str = "higher", definition: str = "") -> dict:
    return {
        "unit": unit,
        "better": better,
        "definition": definition or "Over the 1000 test samples.",
        "values": {str(seed): value for seed, value in enumerate(values)},
        "sampled": {
            "unit": "film",
            "split": "test",
            "n_units": 1000,
            "n_samples": 1000,
            "deviations": [-0.0001, 0.0, 0.0001],
        },
    }


def curves(n_seeds: int, n_epochs: int = 30) -> dict:
    epochs = np.arange(1, n_epochs + 1)
    columns = {}
    for seed in range(n_seeds):
        noise = 1 + 0.02 * np.random.default_rng(seed).standard_normal((2, n_epochs))
        columns[str(seed)] = {
            "epoch": epochs.astype(float).tolist(),
            "loss": ((0.1 + 0.18 * epochs**-0.9) * noise[0]).tolist(),
            "val_loss": ((0.115 + 0.1 * epochs**-0.8) * noise[1]).tolist(),
        }
    return columns


def make_record(n_seeds: int = 3, **changes) -> Record:
    content = {
        "study": "rods",
        "variant": "faithful",
        "preset": "paper",
        "experiment": "twelve_layers",
        "seeds": list(range(n_seeds)),
        "status": "ok",
        "command": "repro run rods --variant faithful --preset paper --seeds 0,1,2 --out rods",
        "hashes": dict.fromkeys(
            ("code", "metrics", "data", "configuration", "environment"), "9f2c41d07be8a653"
        ),
        "environment": {
            "python": "3.11.9",
            "packages": {"keras": "3.15.1", "numpy": "2.4.6", "tensorflow": "2.21.0"},
            "processor": "x86-64, 2.9 GHz",
            "cores": 16,
            "memory_gb": 128.0,
            "gpu": "NVIDIA H200",
            "flags": {
                "backend": "tensorflow",
                "precision": "float32",
                "xla": True,
                "determinism": False,
                "threads": 16,
                "world_size": 1,
            },
        },
    }
    return Record.model_validate(content | changes)


def make_study(name: str, title: str, claims: list[dict], **changes) -> SmallStudy:
    content = {
        "paper": {
            "title": "Imaging buried interfaces by learned phase retrieval",
            "authors": ["A. Author", "B. Author", "C. Author", "D. Author"],
            "venue": "Journal of Examples",
            "year": 2024,
            "url": "https://example.org/paper",
        },
        "claims": claims,
    }
    return SmallStudy(name, title, Claims.model_validate(content), **changes)


def number(claim: str, statement: str, name: str, reported: float, margin: float, **more) -> dict:
    return {
        "id": claim,
        "statement": statement,
        "where": "Table 1",
        "kind": "number",
        "metric": name,
        "reported": reported,
        "better": "lower",
        "margin": margin,
        "margin_reason": "Half the last printed digit and the spread over seeds.",
        "experiment": "twelve_layers",
    } | more


def rods_study() -> SmallStudy:
    order = {
        "id": "order_of_r2",
        "statement": "R² of the cell heights exceeds R² of the small atoms.",
        "where": "Fig. 3",
        "kind": "order",
        "order": ["r2/c/*", "r2/small_atoms/*"],
        "margin": 0.02,
        "margin_reason": "What the figure lets a reader see.",
        "experiment": "twelve_layers",
    }
    bound = {
        "id": "plateau",
        "statement": "The loss has reached its plateau at 30 epochs.",
        "where": "Fig. 5",
        "kind": "bound",
        "metric": "plateau",
        "limit": 0.01,
        "better": "lower",
        "margin": 0.002,
        "margin_reason": "Less than one per cent in the last five epochs.",
        "experiment": "twelve_layers",
    }
    statement = "The validation error of the z-scored field after 30 epochs, {} part."
    return make_study(
        "rods",
        "Phase retrieval from crystal truncation rods",
        [
            number("mae_real", statement.format("real"), "mae/real", 0.124, 0.003),
            number("mae_imaginary", statement.format("imaginary"), "mae/imaginary", 0.1231, 0.003),
            number("mae_24", "The same at 24 layers.", "mae/deep", 0.2, 0.01),
            number("r2_top", "R² of the topmost cell.", "r2_top", 0.95, 0.002, better="higher"),
            order,
            bound,
            number("mae_rough", "Rough films.", "mae/real", 0.14, 0.004, experiment="rough"),
        ],
        deviations=("Initial weights are drawn by Glorot's rule: the paper names none.",),
    )


def strain_study() -> SmallStudy:
    return make_study(
        "strain",
        "Strain maps from noisy diffraction patterns",
        [
            number(
                f"mae_xx_{noise}",
                f"The error of the strain along x at {noise} % noise.",
                "mae/strain_xx",
                0.0014 + noise / 1e5,
                0.0001,
                experiment=f"noise_{noise}",
                where=f"Documentation, figure of the test at {noise} % noise",
            )
            for noise in (0, 10, 20, 30, 40, 50)
        ],
    )


def failed_study() -> SmallStudy:
    claim = number("accuracy", "Accuracy on the test patterns.", "accuracy", 0.95, 0.01)
    return make_study("domains", "Ferroelectric domains by autoencoder", [claim])


def silent_study() -> SmallStudy:
    claim = number("fidelity", "Fidelity of the translated pattern.", "fidelity", 0.9, 0.01)
    return make_study("rheed", "Electron diffraction translated to surfaces", [claim])


def draw(path: Path, width: float = figures.COLUMN_WIDTH, panels: int = 1) -> None:
    rng = np.random.default_rng(len(path.name))
    with figures.house_style():
        figure, axes = figures.new_figure(1, panels, width=width)
        for ax in axes[0]:
            truth = rng.uniform(3.7, 4.0, 80)
            ax.plot(truth, truth + 0.02 * rng.standard_normal(80), ".")
            ax.set(title="O1, cell 3", xlabel="true height [Å]", ylabel="predicted height [Å]")
    figures.save(figure, path)


def entry(file: str, caption: str) -> dict:
    return {"file": file, "caption": caption, "command": "repro evaluate rods"}


def rods_records(folder: Path) -> list[tuple[Path, Record]]:
    for name, width, panels in (("heights.svg", 5.2, 1), ("cells.svg", 7.6, 3)):
        draw(folder / "faithful" / "figures" / name, width, panels)
    draw(folder / "faithful" / "figures" / "worst.png")
    shown = {
        "heights": entry("figures/heights.svg", "Predicted and true heights, 50 test films."),
        "cells": entry("figures/cells.svg", "The same by cell, bottom to top."),
        "fields": entry("figures/fields.svg", "Retrieved field of three films."),
        "worst_cases": entry("figures/worst.png", "The three films with the largest error."),
    }
    metrics = {
        "mae/real": metric(0.1242, 0.1238, 0.1245, better="lower"),
        "mae/imaginary": metric(0.1171, 0.1168, 0.1175, better="lower"),
        "mae/deep": metric(0.243, 0.241, 0.246, better="lower"),
        "r2_top": metric(0.953, 0.949, 0.946),
        "held_out/stoichiometry_to_stoichiometry/mse": metric(
            0.0035123, 0.003512, 0.0035121, unit="at.%"
        ),
        "plateau": metric(0.004, 0.005, 0.006, better="lower"),
        "baseline/nominal": metric(0.61, 0.61, 0.61, better="lower"),
        "baseline/refined": metric(0.0021, 0.0019, 0.002, unit="Å", better="lower"),
    }
    for i in range(6):
        metrics[f"r2/c/{i:02d}"] = metric(0.99, 0.989, 0.991)
        metrics[f"r2/small_atoms/{i:02d}"] = metric(0.90, 0.91, 0.905)
    network = {
        "parameters": 2_541_697,
        "flops": 8.7e9,
        "recipe": {"optimizer": "adam", "learning_rate": 0.001, "batch_size": 32, "epochs": 30},
    }
    data = {
        "name": "rods",
        "version": 1,
        "fingerprint": "a1" * 32,
        "checksum": "b2" * 32,
        "counts": {"train": 90000, "validation": 10000, "test": 1000},
        "parameters": {"n_layers": 12, "rough": False},
    }
    faithful = make_record(
        metrics=metrics,
        figures=shown,
        curves={"real": curves(3), "imaginary": curves(3)},
        networks={"real": network, "imaginary": network | {"flops": None}},
        data=data,
        timings={
            "data": {"wall_s": 310.0, "samples_per_s": 325.0},
            "train": {"wall_s": 9000.0, "device_s": 8700.0, "samples_per_s": 312.5},
        },
        deviations=["The Bragg points are masked in the input and in the loss."],
    )
    improved = make_record(
        n_seeds=1,
        variant="improved",
        preset="desk",
        metrics={"mae/real": metric(0.101, better="lower")},
        curves={"real": curves(1, 2)},
        command="repro run rods --variant improved --preset desk --seeds 0 --out rods-improved",
    )
    worse = {"values": {"0": 0.131}}
    desk = {
        "variant": "faithful",
        "metrics": {"mae/real": improved.metrics["mae/real"].model_copy(update=worse)},
    }
    return [
        (folder / "faithful" / "record.json", faithful),
        (folder / "improved" / "record.json", improved),
        (folder / "faithful-desk" / "record.json", improved.model_copy(update=desk)),
    ]


def strain_records(folder: Path) -> list[tuple[Path, Record]]:
    """Six experiments of one study, sixty metrics each."""
    entries = []
    for noise in (0, 10, 20, 30, 40, 50):
        metrics = {
            f"{method}/{component}_{i}": metric(0.001 * (i + 1), unit="1", better="lower")
            for method in ("correlation", "centre_of_mass", "baseline_py4d")
            for component in ("strain_xx", "strain_yy", "strain_xy", "rotation")
            for i in range(5)
        }
        metrics["mae/strain_xx"] = metric(0.0019 + noise / 1e5, better="lower")
        record = make_record(
            n_seeds=1,
            study="strain",
            preset="desk",
            experiment=f"noise_{noise}",
            metrics=metrics,
            command=f"repro run strain --preset desk --experiment noise_{noise} --out strain",
        )
        entries.append((folder / f"noise_{noise}" / "record.json", record))
    return entries


def failed_record(folder: Path) -> tuple[Path, Record]:
    record = make_record(
        n_seeds=1,
        study="domains",
        preset="smoke",
        status="failed",
        reason="The loss is no longer finite at epoch 2: choose a smaller learning rate.",
        command="repro run domains --preset smoke --out domains",
    )
    return folder / "record.json", record


@pytest.fixture(scope="session")
def gallery(tmp_path_factory) -> tuple[Path, list[tuple[Path, Record]], dict[str, SmallStudy]]:
    """A results folder with everything a report can meet: folder, entries and studies."""
    folder = tmp_path_factory.mktemp("results")
    entries = [
        *rods_records(folder / "rods"),
        *strain_records(folder / "strain"),
        failed_record(folder / "domains"),
    ]
    for path, record in entries:
        write_record(record, path)
    made = (rods_study(), strain_study(), failed_study(), silent_study())
    return folder, entries, {study.name: study for study in made}
