"""The steps of a training: one at a time through Keras, or under JAX with all state on the device.

Both take the same batches in the same order and follow the same course but for rounding. They
yield pieces of an epoch: the losses of some steps and the shares of batches that these were on.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import groupby, islice
from typing import Any

import keras
import numpy as np

from repro.datasets.batches import Batches, Share
from repro.training.devices import (
    committed,
    is_memory_full,
    memory,
    send,
    split_over_devices,
    wait_if_sums_block,
)
from repro.training.ways import ON_DEVICE, ONE_BY_ONE, SCAN, check_way
from repro.training.world import ALONE, World

Piece = tuple[np.ndarray, list[Share]]
STEPS_PER_SCAN = 64
MOST_STEPS, SECONDS_PER_PIECE = 64, 0.2  # a piece: long enough to keep the device busy, no longer
RESIDENT_BYTES, RESIDENT_SHARE = 4e9, 0.3  # most that samples take of the device's memory
SAMPLES_PER_READ = 256


def steps_of(model: keras.Model, world: World = ALONE, way: str | None = None) -> Steps:
    """Return what takes the steps of a compiled network.

    Parameters
    ----------
    model : keras.Model
        The network, with its optimizer built.
    world : World
        The processes that train together.
    way : str, optional
        As `repro.training.ways.check_way` takes it.

    Raises
    ------
    ReproError
        If the way is not known or not possible under this backend.
    """
    way = check_way(way)
    if way == ONE_BY_ONE:
        return OneByOne(model, world)
    return Scan(model) if way == SCAN else OnDevice(model)


class Steps(ABC):
    """Takes the steps of a compiled network.

    Attributes
    ----------
    way : str
        One of `repro.training.ways.WAYS`.
    """

    way: str

    def __init__(self, model: keras.Model):
        self.model = model

    @abstractmethod
    def train(self, batches: Batches, first: int = 0) -> Iterator[Piece]:
        """Train on an epoch's batches from ``first`` on; yield losses ``(n_steps,)`` and shares."""

    @abstractmethod
    def validate(self, batches: Batches) -> Iterator[Piece]:
        """Yield losses and shares of batches that nothing is learned from."""

    def learning_rate(self) -> float:
        """Return the learning rate of the next step."""
        return float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))

    @abstractmethod
    def settle(self) -> None:
        """Put weights and optimizer where Keras looks for them: they can be read and changed."""


class OneByOne(Steps):
    """A step at a time by Keras's ``train_on_batch``.

    Keras's ``fit`` reads TensorFlow's batches through a generator data set, which costs a tenth
    of a small convolutional network's step on a CPU.
    """

    way = ONE_BY_ONE

    def __init__(self, model: keras.Model, world: World):
        super().__init__(model)
        self._world = world

    def train(self, batches: Batches, first: int = 0) -> Iterator[Piece]:
        """See `Steps`."""
        yield from self._each(self.model.train_on_batch, batches, first)
        self._average_statistics()

    def validate(self, batches: Batches) -> Iterator[Piece]:
        """See `Steps`."""
        return self._each(self.model.test_on_batch, batches, 0)

    def settle(self) -> None:
        """See `Steps`; Keras has left them there."""

    def _each(self, step: Callable, batches: Batches, first: int) -> Iterator[Piece]:
        for x, y, share in batches.shares(self._world.rank, self._world.size, first):
            self._world.take(share)
            yield np.array([step(x, y, return_dict=True)["loss"]]), [share]

    def _average_statistics(self) -> None:
        """Give all ranks the mean of what layers such as batch normalisation saw on each."""
        measured = [
            variable
            for variable in self.model.non_trainable_variables
            if keras.backend.is_float_dtype(variable.dtype)
        ]
        if self._world.size > 1 and measured:
            values = [keras.ops.convert_to_numpy(variable) for variable in measured]
            for variable, mean in zip(measured, self._world.average(values), strict=True):
                variable.assign(mean)


class OnDevice(Steps):
    """A call of a compiled step each, with the state and, if they fit, the samples on the device.

    The step is Keras's own pure ``train_step``. Losses are fetched a piece late, so that the
    device works on the next one meanwhile.
    """

    way = ON_DEVICE

    def __init__(self, model: keras.Model):
        super().__init__(model)
        self._state: tuple[list, list, list] | None = None
        self._programs: dict[tuple[str, bool], Callable] = {}
        self._sent: list[tuple[Batches, Any, Any]] = []  # with their renewed arrays, and samples

    def train(self, batches: Batches, first: int = 0) -> Iterator[Piece]:
        """See `Steps`."""
        return _one_behind(self._started(self._train_step, batches, first))

    def validate(self, batches: Batches) -> Iterator[Piece]:
        """See `Steps`."""
        return _one_behind(self._started(self._test_step, batches, 0))

    def learning_rate(self) -> float:
        """See `Steps`."""
        if self._state is None:
            return super().learning_rate()
        variables = self.model.optimizer.variables
        with keras.StatelessScope(list(zip(variables, self._state[2], strict=True))):
            return super().learning_rate()

    def settle(self) -> None:
        """See `Steps`."""
        if self._state is not None:
            for variables, values in zip(self._variables(), self._state, strict=True):
                for variable, value in zip(variables, values, strict=True):
                    variable.assign(value)
            self._state = None

    def _started(self, step: Callable, batches: Batches, first: int) -> Iterator[Started]:
        """Start an epoch's steps piece by piece; yield losses that are yet to be computed."""
        if self._state is None:
            self._state = tuple([committed(v.value) for v in group] for group in self._variables())
        samples = self._samples_of(batches)
        coming = _batches(batches, first) if samples is None else _places(batches, first)
        start = time.perf_counter()
        while piece := list(islice(coming, self._piece_length)):
            losses = self._start(step, samples, [batch for batch, _ in piece])
            yield losses, [share for _, share in piece]
            start = self._measure(len(piece), start)

    def _start(self, step: Callable, samples: Any, piece: list) -> list:
        """Start the steps on some batches; return their losses, which are yet to be computed."""
        losses = []
        program = self._program(step, samples is not None)
        for batch in piece:
            self._state, loss = program(self._state, samples, batch)
            losses.append(loss)
            wait_if_sums_block(self._state)
        return losses

    _piece_length = 1

    def _measure(self, length: int, start: float) -> float:
        """Choose the length of the next piece by the time that the last one took."""
        now = time.perf_counter()
        fitting = SECONDS_PER_PIECE * length / (now - start)
        self._piece_length = int(min(max(fitting, 1), MOST_STEPS, 2 * length))
        return now

    # ---- programs

    def _train_step(self, state, batch):
        logs, after = self.model.train_step((*state, self._no_metrics()), batch)
        return after[:3], logs["loss"]

    def _test_step(self, state, batch):
        logs, after = self.model.test_step((*state[:2], self._no_metrics()), batch)
        return (*after[:2], state[2]), logs["loss"]

    def _program(self, step: Callable, resident: bool) -> Callable:
        """Return a compiled function of the state, all samples, and a batch or its places."""
        import jax

        def one(state, samples, batch):
            if resident:
                batch = jax.tree.map(lambda a: a.at[batch].get(mode="clip"), samples)
            return step(state, split_over_devices(batch))

        key = step.__name__, resident
        if key not in self._programs:
            # The state stays where it is, and its memory is used again.
            where = jax.tree.map(lambda value: value.sharding, self._state)
            run = self._repeated(one) if resident else one
            self._programs[key] = jax.jit(run, donate_argnums=0, out_shardings=(where, None))
        return self._programs[key]

    def _repeated(self, one: Callable) -> Callable:
        return one

    def _variables(self) -> tuple[list, list, list]:
        model = self.model
        return model.trainable_variables, model.non_trainable_variables, model.optimizer.variables

    def _no_metrics(self) -> list:
        return [keras.ops.zeros(v.shape, v.dtype) for v in self.model.metrics_variables]

    # ---- samples

    def _samples_of(self, batches: Batches) -> Any:
        """Return all samples, on the device; None if they change or are too many."""
        for known, arrays, samples in self._sent:
            if known is batches and arrays is batches.arrays:
                return samples
        samples = _sent_if_possible(batches) if _fits(batches) else None
        others = [sent for sent in self._sent if sent[0] is not batches]
        self._sent = [*others, (batches, batches.arrays, samples)]
        return samples


class Scan(OnDevice):
    """Many steps in a call where the samples are on the device, else as `OnDevice`.

    Not for convolutions on a processor: XLA computes them many times slower within a loop
    (jax-ml/jax issue 12868). Keras is to have such a loop itself (keras-team/keras 23527).
    """

    way = SCAN
    _piece_length = STEPS_PER_SCAN

    def _measure(self, length: int, start: float) -> float:
        return start

    def _start(self, step: Callable, samples: Any, piece: list) -> list:
        if samples is None:
            return super()._start(step, samples, piece)
        equal = [np.stack(list(places)) for _, places in groupby(piece, len)]  # the last is short
        return super()._start(step, samples, equal)

    def _repeated(self, one: Callable) -> Callable:
        import jax

        def many(state, samples, batches):
            return jax.lax.scan(lambda s, batch: one(s, samples, batch), state, batches)

        return many


Started = tuple[list, list[Share]]  # losses on the device, and the shares that they are of


def _one_behind(pieces: Iterable[Started]) -> Iterator[Piece]:
    """Yield the losses of pieces, each when the next one is started."""
    before: Started | None = None
    for piece in pieces:
        if before is not None:
            yield _fetched(before)
        before = piece
    if before is not None:
        yield _fetched(before)


def _fetched(piece: Started) -> Piece:
    import jax

    losses, shares = piece
    return np.concatenate([np.atleast_1d(loss) for loss in jax.device_get(losses)]), shares


def _batches(batches: Batches, first: int) -> Iterator[tuple[Any, Share]]:
    """Yield an epoch's batches, on their way to the device, and their shares."""
    for x, y, share in batches.shares(0, 1, first):
        yield send((x, y, None), split=True), share


def _places(batches: Batches, first: int) -> Iterator[tuple[np.ndarray, Share]]:
    """Yield where an epoch's batches are among the samples on the device, and their shares."""
    for index in range(first, len(batches)):
        places = batches.places_of_batch(index).astype(np.int32)
        yield places, Share.of(len(places), 0, 1)


def _fits(batches: Batches) -> bool:
    """Return whether samples that do not change are few enough to stay on the device."""
    if batches.augmented is not None:
        return False
    one = keras.tree.flatten(batches.read(np.arange(1)))
    size = sum(array.nbytes for array in one) * len(batches.rows)
    return size <= min(RESIDENT_BYTES, RESIDENT_SHARE * memory())


def _sent_if_possible(batches: Batches) -> Any:
    """Send all samples to the device; return None if they do not fit beside what is there."""
    import jax

    try:
        return jax.block_until_ready(send(_read_all(batches)))
    except jax.errors.JaxRuntimeError as error:
        if not is_memory_full(error):
            raise
        return None


def _read_all(batches: Batches) -> tuple[Any, Any, None]:
    """Read the samples of all places, part by part into one array each."""
    n = len(batches.rows)
    parts = (np.arange(i, min(i + SAMPLES_PER_READ, n)) for i in range(0, n, SAMPLES_PER_READ))
    whole = None
    for places in parts:
        part = batches.read(places)
        if whole is None:
            whole = keras.tree.map_structure(lambda a: np.empty((n, *a.shape[1:]), a.dtype), part)
        keras.tree.map_structure(partial(_put, places), whole, part)
    return *whole, None


def _put(places: np.ndarray, whole: np.ndarray, part: np.ndarray) -> None:
    whole[places] = part
