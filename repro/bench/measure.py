"""A row: one phase of one network, timed and held against what the device can do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras

from repro.bench.ceilings import MEMORY, Ceilings, matmul_label
from repro.bench.device import gpu_name, usable_cores
from repro.bench.flops import Cost
from repro.bench.rows import METHOD, Ceiling, Phase, Row, Times
from repro.bench.subject import READY, WHOLE, Subject
from repro.bench.timing import ROUNDS, steps_within, summarise, take_turns, warm_up
from repro.bench.watching import watching
from repro.evaluation.provenance import hash_json
from repro.training.devices import is_memory_full

COMPUTED_IN = {"float32": "float32", "mixed_bfloat16": "bfloat16", "mixed_float16": "float16"}
ITEM_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
TRAINING_COST = 3  # forward passes: backward, to inputs and to weights, costs two more
# How often a training step reads or writes a weight, or a number that the optimizer keeps for it:
# forward, backward and gradient, then the update.
WEIGHT_PASSES = {"sgd": 6, "adam": 10, "adamw": 10}
DECIDING = ("optimizer", "loss", "clip_norm", "weight_decay", "jit_compile")  # of a recipe
TRUSTED_VARIATION = 0.15  # of a ceiling
TRUSTED_LOAD = 0.15  # of all cores, by other processes
BUSY = f"other processes kept more than {TRUSTED_LOAD:.0%} of the cores busy"
VARIED = f"a ceiling varied by more than {TRUSTED_VARIATION:.0%}"
BEYOND = "it reached more than a ceiling"


def time_phase(
    subject: Subject,
    phase: Phase,
    batch: int,
    seconds: float,
    limit: float,
    ceilings: Ceilings,
    workers: int = 1,
) -> Row:
    """Time one phase of a network.

    Parameters
    ----------
    subject : Subject
        The network.
    phase : str
        ``"train"``, ``"infer"`` or ``"data"``.
    batch : int
        Samples of a step [1].
    seconds : float
        How long it should take, the first steps aside [s].
    limit : float
        How long the fewest steps may take [s].
    ceilings : Ceilings
        What the device can do at most, measured before and after.
    workers : int
        Devices that share a batch [1].

    Raises
    ------
    NotTimed
        If these take longer.
    MemoryError
        If the batch needs more memory than the device has.
    """
    kinds = [] if phase == "data" else [COMPUTED_IN[subject.policy], MEMORY]
    before = {kind: ceilings.before(kind) for kind in kinds}
    with _telling_full_memory(), subject.programs(phase, batch) as programs:
        at_once = subject.steps_at_once(phase, batch)
        first, again = warm_up(programs, at_once)
        n_steps = steps_within(seconds, again, subject.most_steps(batch), limit, at_once)
        with watching(workers) as seen:
            taken = take_turns(programs, n_steps)
    around = {kind: (before[kind], ceilings.after(kind), ceilings.best[kind]) for kind in kinds}

    times = {name: summarise(seconds) for name, seconds in taken.items()}
    # Batches alone are only timed as they are made, answers only with their input ready.
    whole, ready = (times.get(name, next(iter(times.values()))) for name in (WHOLE, READY))
    facts: dict[str, Any] = {
        **_identity(subject, phase, batch, workers),
        "seconds": whole,
        "samples_per_second": batch / whole.median,
        "first_seconds": max(0.0, first - again),
        "busy_elsewhere": round(seen.busy_elsewhere, 2),
        "peak_gb": None if seen.peak_bytes is None else seen.peak_bytes / 1e9,
    }
    if seen.joules is not None:
        facts["joules_per_sample"] = seen.joules / (batch * n_steps * ROUNDS * len(programs))
    if phase == "train":
        waiting = max(0.0, 1 - ready.median / whole.median)
        facts |= {"way": subject.way, "ready_seconds": ready, "waiting": waiting}
    if phase != "data":
        facts |= _held_against(subject, phase, batch, ready, around, workers)
    row = Row(**facts)
    return row.model_copy(update={"marks": marks(row)})


def marks(row: Row) -> list[str]:
    """Say why a row is unreliable: a busy machine, or a ceiling that is none."""
    ceilings = [ceiling for ceiling in (row.matmul, row.memory) if ceiling is not None]
    found = {
        BUSY: row.busy_elsewhere > TRUSTED_LOAD * usable_cores(),
        VARIED: any(ceiling.variation > TRUSTED_VARIATION for ceiling in ceilings),
        BEYOND: any((ceiling.share or 0.0) > 1 for ceiling in ceilings),
    }
    return [reason for reason, holds in found.items() if holds]


def _identity(subject: Subject, phase: Phase, batch: int, workers: int) -> dict[str, Any]:
    """Return which row this is, and of what."""
    network, of_model = subject.network, {}
    if phase != "data":
        cost = subject.cost
        parameters = subject.model.count_params()
        of_model = {"parameters": parameters, "flops": None if cost is None else cost.flops}
    recipe = subject.recipe.described()
    shapes = keras.tree.map_structure(lambda a: [*a.shape[1:], a.dtype.name], subject.example)
    work = [METHOD, of_model, str(shapes), {name: recipe[name] for name in DECIDING}]
    return {
        **{name: vars(network)[name] for name in ("study", "variant", "preset")},
        "network": network.task.name,
        "stands_for": list(network.stands_for),
        "phase": phase,
        "precision": subject.policy,
        "backend": keras.config.backend(),
        "batch": batch,
        "workers": workers,
        "definition": hash_json(work)[:16],
        **of_model,
    }


def _held_against(
    subject: Subject,
    phase: Phase,
    batch: int,
    times: Times,
    around: dict[str, tuple[float, float, float]],
    workers: int,
) -> dict[str, Any]:
    """Return the network's rates, and its shares of the ceilings of all devices together."""
    n_devices = workers if gpu_name() else 1  # on a processor they share its cores
    dtype, cost = COMPUTED_IN[subject.policy], subject.cost
    flops = n_bytes = None
    if cost is not None:
        flops = (TRAINING_COST if phase == "train" else 1) * cost.flops * batch / times.median
        n_bytes = moved_bytes(cost, phase, batch, dtype, subject.recipe.optimizer) / times.median
    return {
        "flops_per_second": flops,
        "matmul": _ceiling(matmul_label(dtype), flops, around[dtype], n_devices),
        "memory": _ceiling(MEMORY, n_bytes, around[MEMORY], n_devices),
    }


def moved_bytes(cost: Cost, phase: Phase, batch: int, dtype: str, optimizer: str) -> float:
    """Return the least that a step reads and writes [byte], if all is fused that can be.

    Parameters
    ----------
    cost : Cost
        Of one sample.
    phase : str
        ``"train"`` or ``"infer"``.
    batch : int
        Samples [1].
    dtype : str
        That the network computes in; weights are float32.
    optimizer : str
        As `Recipe` names it.
    """
    samples = batch * cost.moved * ITEM_BYTES[dtype]
    if phase == "infer":
        return samples + 4 * cost.parameters
    return TRAINING_COST * samples + 4 * WEIGHT_PASSES[optimizer] * cost.parameters


def _ceiling(
    name: str, reached: float | None, around: tuple[float, float, float], n_devices: int
) -> Ceiling:
    before, after, best = around
    rate = n_devices * max(before, after)
    share = None if reached is None else reached / rate
    return Ceiling(name=name, rate=rate, share=share, variation=1 - min(before, after) / best)


@contextmanager
def _telling_full_memory() -> Iterator[None]:
    """Turn what the backends raise when the device's memory is full into a MemoryError."""
    try:
        yield
    except Exception as error:
        if not is_memory_full(error):
            raise
        raise MemoryError("the device's memory is full") from None
