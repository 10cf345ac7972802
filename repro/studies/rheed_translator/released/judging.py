"""What a trained translator of the authors does on the films that its training held out."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from repro.datasets.store import Dataset
from repro.errors import ReproError
from repro.evaluation.metrics import Evaluation, in_stages, neither
from repro.released.state_dict import read_state_dict
from repro.studies.rheed_translator.evaluate import (
    Arrays,
    Bench,
    Metrics,
    memory_stage,
    published_stage,
)
from repro.studies.rheed_translator.published.model import (
    LossWeights,
    loss_parts,
    published_translator,
)
from repro.studies.rheed_translator.published.translation import Published, said_by
from repro.studies.rheed_translator.recipe import (
    ALL,
    PRINTED_POSITIONS,
    PRINTED_TEST,
    PUBLISHED,
    PUBLISHED_TEST,
    SCALES,
    Films,
    films_of_contents,
    in_published_order,
)
from repro.studies.rheed_translator.released.conversion import set_weights
from repro.study import Trained

if TYPE_CHECKING:
    import keras

# What becomes 0 and 1, as the authors' application has it: Sr content [at.%], intensity.
LOWEST, HIGHEST, DARKEST, BRIGHTEST = 33.206898, 70.45019, 0.0, 1.0
HELD_OUT = "held_out"  # how a run calls films that were not learnt from


def evaluate(weights: Path, dataset: Dataset, progress: Callable[[int, int], None]) -> Evaluation:
    """Measure released weights on the authors' test films, and on those they learnt from.

    In a copy of the films in another order than the authors', these are the films of either kind
    whose Sr content is printed.

    Parameters
    ----------
    weights : Path
        As PyTorch wrote them.
    dataset : Dataset
        The published films, all in its training split.
    progress : callable
        Told the stages done, and their number.

    Raises
    ------
    ReproError
        If the data set lacks the films, or the weights are not those of the published translator.
    """
    films = Films.of(dataset)
    held_out, learnt = divided(films)
    height, width = SCALES[dataset.spec.preset].size
    network = published_translator(height, width)
    set_weights(network, read_state_dict(weights), str(weights))
    return measured(network, dataset, held_out, learnt, progress)


def divided(films: Films) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the films that the authors test by, and those that they learn from, as far as known.

    Raises
    ------
    ReproError
        If these are not the published films.
    """
    if in_published_order(films):
        held_out = films.training[list(PUBLISHED_TEST)]
        learnt = np.setdiff1d(films.training, held_out)
        return tuple(sorted(held_out.tolist())), tuple(learnt.tolist())
    groups = [
        films_of_contents(films, group.values()) for group in (PRINTED_TEST, PRINTED_POSITIONS)
    ]
    if not all(groups):
        raise ReproError(
            "The data set lacks films whose Sr content the authors print, so that nobody knows "
            "which films the weights have seen: give the published ones with --data FILE."
        )
    return tuple(groups)


def measured(
    network: keras.Model,
    dataset: Dataset,
    held_out: tuple[int, ...],
    learnt: tuple[int, ...],
    progress: Callable[[int, int], None],
) -> Evaluation:
    """Return what a run would measure of the network that held films out, under a run's names.

    Parameters
    ----------
    network : keras.Model
        A translator of the data set's preset.
    dataset : Dataset
        Films.
    held_out, learnt : tuple of int
        Films that it has not seen, and has seen.
    progress : callable
        Told the stages done, and their number.
    """
    bench = Bench(Trained("faithful", dataset, {}, {}, {}, seed=0))
    size = SCALES[dataset.spec.preset].size
    scales = Published(*size, LOWEST, HIGHEST, DARKEST, BRIGHTEST)
    bench.all = replace(bench.all, held_out=held_out, make=lambda *_: scales)
    bench.published = {PUBLISHED: bench.all}
    bench.models = dict.fromkeys((ALL, PUBLISHED), network)
    seen = copy(bench)
    seen.films = replace(bench.films, training=np.array(learnt))
    inputs = bench.all.inputs(seen.films.training)
    loss = LossWeights().total(loss_parts(inputs, said_by(network, inputs)))
    seen.curves = {ALL: {"loss": [float(loss)]}}
    stages = [held_out_stage, lambda bench: memory_stage(seen)]
    return in_stages(stages, bench, progress).defined()


def held_out_stage(bench: Bench) -> tuple[Metrics, Arrays]:
    """Ask the network for the authors' test films, and say how many they are."""
    found, arrays = published_stage(bench)
    (network,) = bench.published.values()
    metrics = {name.replace(PUBLISHED, HELD_OUT, 1): metric for name, metric in found.items()}
    n = len(network.held_out)
    metrics[f"{HELD_OUT}/films"] = neither(n, "films of the authors' test split that are known")
    return metrics, arrays
