"""What the networks of `mamba` are worth: field error, structures, refinement, and baselines.

Metrics of the network alone have plain names (``test_mae``, ``r2/c``); what is done with other
means stands under the name of the method: ``refined/`` (the network's structure refined through
the forward model), ``nominal_refined/`` (the same from the nominal film), ``least_squares/`` and
``nominal_least_squares/`` (both with plain Levenberg-Marquardt), ``error_reduction/``, ``mean/``
(the training mean), ``ceiling/`` (extraction from the true field).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import keras
import numpy as np

from repro.datasets.store import Dataset
from repro.evaluation.metrics import (
    Evaluation,
    Metric,
    higher,
    in_stages,
    lower,
    neither,
    share,
)
from repro.evaluation.resampling import Resampled, Resampling, average
from repro.seeds import integer_seed
from repro.studies.mamba.baselines import counting_noise, error_reduction
from repro.studies.mamba.density import column_fields, to_density
from repro.studies.mamba.extract import (
    Structure,
    by_the_rule,
    extract,
    final_occupancy,
    find_structure,
    outliers,
    r2_by_layer,
    scored_quantities,
)
from repro.studies.mamba.recipe import PARTS, as_channels, normalise
from repro.studies.mamba.refine import Refinement, RefinementSettings, refine
from repro.studies.mamba.simulate import BRAGG, N_L, N_RODS, ROD_H, ROD_K, Film
from repro.study import History, Trained

CLOSE = 1e-3  # [Å] an atom nearer to its true place counts as found
SMALL_ATOMS = ("B", "O1", "O2")  # O3 stands at the height of O2
COUNTS = (1e3, 1e4, 1e5, 1e6, 1e7)  # at the strongest point that is no Bragg point
ROD_SETS = {  # h, k up to 3, 2, 1, 0
    n: np.flatnonzero(np.maximum(ROD_H, ROD_K) <= top)
    for n, top in ((16, 3), (9, 2), (4, 1), (1, 0))
}
# What a textbook does: forty steps of least squares on all points, from one start.
PLAIN = RefinementSettings(stages=((6.0, 40),), robust_scale=1e3, polish_steps=0, starts=1)
SWEEP_EXPERIMENT = "layers_12"  # noise and number of rods are studied on the paper's main films

Films = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Effort:
    """How much of the test split the slow parts look at; all of it from preset ``desk`` on.

    Parameters
    ----------
    refined, swept : int
        Test films that are refined, and that the sweeps over noise and rods use.
    starts : int
        Most starts of a refinement.
    iterations : int
        Rounds of error reduction.
    """

    refined: int
    swept: int
    starts: int
    iterations: int


EFFORT = {
    "smoke": Effort(refined=16, swept=8, starts=2, iterations=20),
    "desk": Effort(refined=500, swept=50, starts=8, iterations=100),
    "paper": Effort(refined=1000, swept=200, starts=8, iterations=200),
}


def evaluate(trained: Trained, progress: Callable[[int, int], None]) -> Evaluation:
    """Measure trained networks on the test split, beside all baselines."""
    stages = [network_stage, reference_stage]
    if trained.variant == "improved":
        stages += [refinement_stage]
        if trained.dataset.spec.experiment == SWEEP_EXPERIMENT:
            stages += [noise_stage, rods_stage]
    network = partial(predict_field, trained.models, trained.dataset)
    bench = Bench(trained.dataset, network, trained.seed)
    found = in_stages(stages, bench, progress)
    return replace(found, metrics=late_improvement(trained.curves) | found.metrics)


class Bench:
    """The test films, and the network that is measured on them.

    Parameters
    ----------
    dataset : Dataset
        Whose test split is used.
    network : callable
        From log intensity ``(n, 16, 240)``, not normalised, to the field, complex [electrons].
    seed : int
        The run's seed.
    """

    def __init__(self, dataset: Dataset, network: Films, seed: int):
        self.dataset, self.network, self.seed = dataset, network, seed
        self.film = Film(**dataset.spec.parameters)
        self.effort = EFFORT[dataset.spec.preset]
        self.rows = dataset.rows("test")
        self.log_intensity = np.asarray(dataset.array("log_intensity")[self.rows])
        self.field = true_field(dataset, self.rows)
        self.structure = true_structure(self.film, dataset, self.rows)
        self.films = Resampling("film", self.rows)
        self.predicted = network(self.log_intensity)
        self.found = find_structure(self.film, self.predicted)
        self.extracted = by_the_rule(self.film, self.found)


def true_field(dataset: Dataset, rows: np.ndarray) -> np.ndarray:
    """Return the stored field of some films, ``(n, 16, 240)`` complex64 [electrons]."""
    real, imaginary = (dataset.array(name)[rows] for name in PARTS.values())
    return real + 1j * imaginary


def true_structure(film: Film, dataset: Dataset, rows: np.ndarray) -> Structure:
    """Return the stored structure of some films."""
    z, p, occupancy, n_cells = (
        dataset.array(name)[rows] for name in ("z_atoms", "p_intermixing", "occupancy", "n_cells")
    )
    return Structure(z, p, final_occupancy(film, occupancy, n_cells))


def predict_field(
    models: dict[str, keras.Model], dataset: Dataset, log_intensity: np.ndarray
) -> np.ndarray:
    """Return the networks' field, ``(n, 16, 240)`` complex64 [electrons]."""
    normalised = normalise(dataset, "log_intensity", log_intensity)
    if "field" in models:
        output = models["field"].predict(as_channels(normalised), batch_size=100, verbose=0)
        parts = dict(zip(PARTS, np.split(output.transpose(0, 2, 1), 2, axis=1), strict=True))
    else:
        flat = normalised.reshape(len(normalised), -1, 1)
        parts = {
            part: models[part].predict(flat, batch_size=20, verbose=0).reshape(normalised.shape)
            for part in PARTS
        }
    electrons = {}
    for part, name in PARTS.items():
        mean, deviation = dataset.statistics(name)
        electrons[part] = (parts[part] * deviation + mean).astype(np.float32)
    return electrons["real"] + 1j * electrons["imag"]


def field_errors(
    bench: Bench, field: np.ndarray, true: np.ndarray, films: Resampling, prefix: str
) -> dict[str, Metric]:
    """Return the mean absolute error of each z-scored part of a field, and their mean."""
    errors = {}
    for part, name in PARTS.items():
        _, deviation = bench.dataset.statistics(name)
        take = np.real if part == "real" else np.imag
        found, expected = (np.float64(take(values) / deviation) for values in (field, true))
        errors[f"{prefix}/{part}"] = lower(
            films.mean(np.abs(found - expected).mean(axis=(1, 2))),
            f"mean |error| of the z-scored {part} part over films, 16 rods and 240 l",
        )
    both = average([metric.resampled for metric in errors.values()])
    return {**errors, prefix: lower(both, "mean of the two parts' mean |error|, z-scored")}


def structure_scores(
    bench: Bench, found: Structure, rows: slice, prefix: str, layers: bool
) -> dict:
    """Return R² by quantity, by layer on demand, and the lowest of all layers."""
    true = Structure(*(array[rows] for array in vars(bench.structure).values()))
    by_layer = r2_by_layer(bench.film, true, found, bench.films.only(bench.rows[rows]))
    means = mean_over_layers(by_layer)
    scores = {**by_layer, **means} if layers else means
    metrics = {
        f"{prefix}{name}": higher(value, "R² over test films, outliers set to nominal")
        for name, value in scores.items()
    }
    metrics[f"{prefix}r2_minimum"] = higher(
        min(score.value for score in by_layer.values()), "lowest R² of all quantities and layers"
    )
    if layers:
        metrics[f"{prefix}r2/decline_to_top/small_atoms"] = neither(
            decline_to_top(by_layer), "R² of B, O1, O2: bottom half minus top half"
        )
    return metrics


def without_the_rule(bench: Bench) -> dict[str, Metric]:
    """Return how many values the rule for outliers replaced, and R² without it."""
    true = bench.structure
    n_cells = present_cells(bench, slice(None))[:, None]
    present = np.arange(bench.film.n_cells)[None, 1:] < n_cells  # without the dummy cell
    cells, atoms = (o[:, 1:][present] for o in outliers(bench.film, bench.found.z_atoms))
    means = mean_over_layers(r2_by_layer(bench.film, true, bench.found, bench.films))
    return {
        "outliers/cells": neither(cells.mean(), "share of cell heights that the rule replaced"),
        "outliers/atoms": neither(
            atoms[:, 1:].mean(), "share of heights of B and O that the rule replaced"
        ),
    } | {
        f"without_rule/{name}": higher(value, "R² over test films, outliers as they were found")
        for name, value in means.items()
    }


def density_difference(bench: Bench) -> dict[str, Metric]:
    """Return how far predicted densities are from the true ones (paper, Fig. 2a).

    Densities of two films are much alike, since their atoms stand at nearly the same places: so
    the difference is counted in that between a film and another.
    """
    predicted, true = (to_density(column_fields(f)) for f in (bench.predicted, bench.field))
    own, others = (
        bench.films.mean(np.square(density - true).mean(axis=(1, 2)))
        for density in (predicted, np.roll(true, 1, axis=0))
    )
    about = "squared error of the four columns' density over that of another film's"
    return {"density_difference": lower(own / others, about)}


def own_film(bench: Bench) -> dict[str, Metric]:
    """Return how often the 00 rod is nearer to its own film than to another (paper, Fig. 6)."""
    own, others = bench.field[:, 0], np.roll(bench.field[:, 0], 1, axis=0)
    apart = [np.abs(bench.predicted[:, 0] - field).mean(axis=1) for field in (own, others)]
    about = "share of test films whose 00 rod is nearer to the true one than to another film's"
    return {"own_rod_00": share(apart[0] < apart[1], about, bench.films)}


def mean_over_layers(by_layer: dict[str, Resampled]) -> dict[str, Resampled]:
    """Return mean R² by quantity, ``r2/c``, ..., and of the small atoms, from R² by layer."""
    quantities = list(dict.fromkeys(name.split("/")[1] for name in by_layer))
    means = {f"r2/{q}": average(_layers(by_layer, q)) for q in quantities}
    means["r2/small_atoms"] = average([means[f"r2/{q}"] for q in SMALL_ATOMS])
    means["r2/c_less_small_atoms"] = means["r2/c"] - means["r2/small_atoms"]
    return means


def decline_to_top(by_layer: dict[str, Resampled]) -> Resampled:
    """Return mean R² of the small atoms in the bottom half of the film minus the top half."""
    layers = [_layers(by_layer, q) for q in SMALL_ATOMS]
    half = len(layers[0]) // 2
    bottom, top = (
        average([score for scores in layers for score in scores[part]])
        for part in (slice(None, half), slice(-half, None))
    )
    return bottom - top


def _layers(by_layer: dict[str, Resampled], quantity: str) -> list[Resampled]:
    return [value for name, value in by_layer.items() if name.startswith(f"r2/{quantity}/")]


def late_improvement(curves: Mapping[str, History]) -> dict[str, Metric]:
    """Return by how much the last sixth of the epochs improved each network's best loss.

    Of a short training the last epoch takes the place of that sixth; nothing of a single epoch.
    """
    metrics = {}
    for task, columns in curves.items():
        losses = columns["val_loss"]
        last = max(len(losses) // 6, 1)
        if len(losses) > 1:
            metrics[f"late_improvement/{task}"] = lower(
                min(losses[:-last]) / min(losses) - 1,
                "best validation loss before the last sixth of epochs over the best of all, less 1",
            )
    return metrics


def network_stage(bench: Bench):
    """Measure the network alone: field error, structures, examples for the figures."""
    dataset, validation = bench.dataset, bench.dataset.rows("validation")
    predicted = bench.network(np.asarray(dataset.array("log_intensity")[validation]))
    films, true = Resampling("film", validation, "validation"), true_field(dataset, validation)
    metrics = field_errors(bench, predicted, true, films, "validation_mae")
    metrics |= field_errors(bench, bench.predicted, bench.field, bench.films, "test_mae")
    metrics |= structure_scores(bench, bench.extracted, slice(None), "", layers=True)
    metrics |= without_the_rule(bench) | density_difference(bench) | own_film(bench)
    film_error = np.abs(bench.predicted - bench.field).mean(axis=(1, 2))
    order = np.argsort(film_error)
    chosen = {"typical": order[len(order) // 2], "worst": order[-1]}
    arrays = {"film_error": film_error.astype(np.float32)}
    for name, film in chosen.items():
        arrays[f"{name}/index"] = np.array(film)
        arrays[f"{name}/field"] = bench.field[film]
        arrays[f"{name}/network"] = bench.predicted[film]
        arrays[f"{name}/z_atoms"] = bench.structure.z_atoms[film]
        arrays[f"{name}/z_network"] = bench.extracted.z_atoms[film]
    arrays |= quantity_arrays(bench.film, "true", bench.structure)
    arrays |= quantity_arrays(bench.film, "network", bench.extracted)
    return metrics, arrays


def quantity_arrays(film: Film, prefix: str, structure: Structure) -> dict[str, np.ndarray]:
    """Return the scored quantities as float32 arrays ``PREFIX/NAME``, ``(n, layers)``."""
    quantities = scored_quantities(film, **vars(structure))
    return {f"{prefix}/{name}": values.astype(np.float32) for name, values in quantities.items()}


def reference_stage(bench: Bench):
    """Measure what needs no network: the mean, error reduction, and the extraction's ceiling."""
    mean_parts = (bench.dataset.statistics(name)[0] for name in PARTS.values())
    real, imaginary = (np.broadcast_to(mean, bench.field.shape) for mean in mean_parts)
    mean = real + 1j * imaginary
    metrics = field_errors(bench, mean, bench.field, bench.films, "mean/test_mae")
    film, rounds = bench.film, bench.effort.iterations
    retrieved = error_reduction(film, bench.log_intensity, rounds)
    started = error_reduction(film, bench.log_intensity, rounds, start=bench.predicted)
    metrics |= field_errors(bench, retrieved, bench.field, bench.films, "error_reduction/test_mae")
    for name, field in (
        ("error_reduction", retrieved),
        ("error_reduction_from_network", started),
        ("ceiling", bench.field),
    ):
        found = extract(bench.film, field)
        metrics |= structure_scores(bench, found, slice(None), f"{name}/", layers=False)
    return metrics, {}


def refinement_stage(bench: Bench):
    """Refine the network's structures, and nominal ones, against the measured rods."""
    rows = slice(0, bench.effort.refined)
    metrics, arrays = {}, {"network/largest_error": network_error(bench, rows)}
    robust = RefinementSettings(starts=bench.effort.starts)
    for name, start, settings in (
        ("refined", bench.extracted, robust),
        ("nominal_refined", None, robust),
        ("least_squares", bench.extracted, PLAIN),
        ("nominal_least_squares", None, PLAIN),
    ):
        result = refine_from(bench, bench.log_intensity[rows], rows, start, settings=settings)
        found = refined_structure(bench.film, result)
        error = largest_error(bench, result, rows)
        metrics |= refinement_metrics(name, result, error)
        metrics[f"{name}/false_solved"] = lower(
            (result.solved & (error > CLOSE)).mean(),
            "share of test films flagged as solved with an atom off by more than 0.001 Å",
        )
        metrics |= structure_scores(bench, found, rows, f"{name}/", layers=False)
        arrays |= {
            f"{name}/largest_error": error,
            f"{name}/estimated_error": result.estimated_error,
            f"{name}/solved": result.solved,
            **quantity_arrays(bench.film, name, found),
        }
    return metrics, arrays


def refine_from(
    bench: Bench, log_intensity: np.ndarray, rows: slice, start: Structure | None, **keywords
) -> Refinement:
    """Refine films from a start, or from the nominal film."""
    z, p = (start.z_atoms[rows], start.p_intermixing[rows]) if start else (None, None)
    seed = integer_seed(bench.seed, "refinement")
    return refine(bench.film, log_intensity, z, p, seed=seed, **keywords)


def refined_structure(film: Film, result: Refinement) -> Structure:
    """Return a refinement's structure, with the final layers' occupancy as `extract` has it."""
    occupancy = final_occupancy(film, result.occupancy, result.n_cells)
    return Structure(result.z_atoms, result.p_intermixing, occupancy)


def largest_error(bench: Bench, result: Refinement, rows: slice) -> np.ndarray:
    """Return the error of each film's worst atom, ``(n,)`` [Å]; infinite for a wrong thickness."""
    right_thickness = result.n_cells == present_cells(bench, rows)
    return np.where(right_thickness, worst_atom(bench, result.z_atoms, rows), np.inf)


def network_error(bench: Bench, rows: slice) -> np.ndarray:
    """Return the error of each film's worst atom as the network has it, ``(n,)`` [Å]."""
    return worst_atom(bench, bench.extracted.z_atoms[rows], rows)


def worst_atom(bench: Bench, z_atoms: np.ndarray, rows: slice) -> np.ndarray:
    """Return the largest error of the atoms of present cells, ``(n,)`` [Å]."""
    present = np.arange(bench.film.n_cells) < present_cells(bench, rows)[:, None]
    error = np.abs(z_atoms - bench.structure.z_atoms[rows]).max(axis=2)
    return np.where(present, np.nan_to_num(error, nan=np.inf), 0.0).max(axis=1)


def present_cells(bench: Bench, rows: slice) -> np.ndarray:
    """Return how many cells the films have, ``(n,)``."""
    return np.asarray(bench.dataset.array("n_cells")[bench.rows[rows]])


def refinement_metrics(name: str, result: Refinement, error: np.ndarray) -> dict[str, Metric]:
    """Return how many films a refinement solved, and how well."""
    close = error < CLOSE
    return {
        f"{name}/within_0.001_A": share(
            close, "share of test films with every atom within 0.001 Å of its true height"
        ),
        f"{name}/solved": share(result.solved, "share of test films flagged as solved"),
        f"{name}/median_error": lower(
            np.median(error), "median over films of the worst atom's error", "Å"
        ),
        f"{name}/starts": neither(result.n_starts.mean(), "mean number of starts per film"),
    }


def noise_stage(bench: Bench):
    """Measure all methods on counted photons, from few to many."""
    rows, metrics = slice(0, bench.effort.swept), {}
    clean = bench.log_intensity[rows]
    for counts in COUNTS:
        noisy = counting_noise(clean, counts, integer_seed(bench.seed, "counting noise"))
        weights = count_weights(noisy, counts)
        metrics |= method_scores(bench, noisy, rows, noise_name(counts), weights=weights)
    names = [noise_name(counts) for counts in COUNTS]
    return metrics, sweep_arrays("noise", COUNTS, names, metrics, "r2/small_atoms")


def noise_name(counts: float) -> str:
    """Return the name of a noise level, such as ``noise_1e5``."""
    return f"noise_{counts:.0e}".replace("+0", "")


def sweep_arrays(sweep: str, axis, names: list[str], metrics: dict, metric: str) -> dict:
    """Return one metric along a sweep for each method that has it, for the figure."""
    methods = ("network", "error_reduction", "refined", "nominal_refined")
    arrays = {f"{sweep}/axis": np.asarray(axis, dtype=float)}
    for method in methods:
        if f"{names[0]}/{method}/{metric}" in metrics:
            values = [metrics[f"{name}/{method}/{metric}"].value for name in names]
            arrays[f"{sweep}/{method}"] = np.array(values)
    return arrays


def count_weights(log_intensity: np.ndarray, counts_at_strongest: float) -> np.ndarray:
    """Return each point's inverse standard error of log intensity, the root of its counts."""
    strongest = log_intensity[..., ~BRAGG].max(axis=(1, 2), keepdims=True)
    counts = counts_at_strongest * np.exp(log_intensity - strongest)
    return np.where(BRAGG, 0.0, np.sqrt(counts))


def rods_stage(bench: Bench):
    """Measure all methods with fewer rods; the network gets its mean input for the missing ones."""
    rows, metrics = slice(0, bench.effort.swept), {}
    mean, _ = bench.dataset.statistics("log_intensity")
    for n_rods, rods in ROD_SETS.items():
        reduced = np.full((len(bench.log_intensity[rows]), N_RODS, N_L), float(mean))
        reduced[:, rods] = bench.log_intensity[rows][:, rods]
        metrics |= method_scores(bench, reduced, rows, f"rods_{n_rods}", rods=rods)
    names = [f"rods_{n_rods}" for n_rods in ROD_SETS]
    return metrics, sweep_arrays("rods", list(ROD_SETS), names, metrics, "within_0.001_A")


def method_scores(
    bench: Bench, log_intensity: np.ndarray, rows: slice, prefix: str, **refinement
) -> dict[str, Metric]:
    """Return scores of the network, error reduction and both refinements on altered rods.

    With rods missing, error reduction is left out: it works on each rod by itself.
    """
    film, metrics = bench.film, {}
    extracted = extract(film, bench.network(log_intensity))
    found = {"network": extracted}
    if "rods" not in refinement:
        retrieved = error_reduction(film, log_intensity, bench.effort.iterations)
        found["error_reduction"] = extract(film, retrieved)
    settings = RefinementSettings(starts=min(2, bench.effort.starts))
    for name, start in (("refined", extracted), ("nominal_refined", None)):
        result = refine_from(bench, log_intensity, rows, start, settings=settings, **refinement)
        error = largest_error(bench, result, rows)
        metrics |= refinement_metrics(f"{prefix}/{name}", result, error)
        found[name] = refined_structure(film, result)
    for name, structure in found.items():
        metrics |= structure_scores(bench, structure, rows, f"{prefix}/{name}/", layers=False)
    return metrics
