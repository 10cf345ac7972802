"""Several processes that train one network together, by Horovod under TensorFlow.

Each rank works on its share of a batch. The mean gradient of the whole batch is the sum over the
ranks of each share's mean gradient times the share's part of the batch, so that the course is that
of a single process, to within rounding.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from repro.datasets.batches import Share
from repro.errors import NotPossibleHere, ReproError
from repro.install.horovod_found import require_horovod
from repro.training.gradient_sums import SUMS
from repro.training.launchers import Place, adopt, place
from repro.training.watchdog import Watchdog
from repro.training.world import ALONE, World, make_current

if TYPE_CHECKING:
    import keras
    import numpy as np
    import tensorflow as tf

    from repro.training.recipe import Recipe
    from repro.training.state import State

TIMEOUT_S = 600.0  # the first step may wait for a compiler
MEETING_S = 120.0  # machines of a cluster start at different times
COMMIT_STEPS = 10
# Horovod's own limits end what the watchdog here cannot see, such as a peer that is stopped.
HOROVOD_LIMITS = {"HOROVOD_GLOO_TIMEOUT_SECONDS": "120", "HOROVOD_STALL_CHECK_TIME_SECONDS": "120"}


@contextmanager
def join(timeout_s: float = TIMEOUT_S) -> Iterator[World]:
    """Train together with the processes that were started with this one.

    Parameters
    ----------
    timeout_s : float
        Time without a step after which a rank gives up [s].

    Yields
    ------
    World
        `ALONE` for a process that was started by itself.

    Raises
    ------
    NotPossibleHere
        If Horovod is missing, was built for another TensorFlow, or the ranks do not meet.
    ReproError
        If the backend is not TensorFlow.
    """
    found = place()
    if found is None:
        yield ALONE
        return
    _require_tensorflow(found)
    require_horovod()
    world = HorovodWorld(found, timeout_s)
    make_current(world)
    try:
        yield world
    finally:
        make_current(ALONE)
        world.stop_watching()
    world.leave()


class HorovodWorld(World):
    """The ranks of a Horovod job; use `join`."""

    def __init__(self, found: Place, timeout_s: float):
        import horovod.tensorflow as hvd
        import tensorflow as tf

        self._hvd = hvd
        self.rank, self.size = found.rank, found.size
        self._watchdog = Watchdog(max(timeout_s, MEETING_S), self._describe)
        self._choose_gpu(found.local_rank)
        for name, value in HOROVOD_LIMITS.items():
            os.environ.setdefault(name, value)
        self._watchdog.start()
        # Under srun MPI would need a Slurm that was built for it.
        if not (found.launcher == "mpirun" and hvd.mpi_built()):
            adopt(found, self._watchdog.timeout_s)
        self._meet()
        self._watchdog.beat()
        self._watchdog.timeout_s = timeout_s
        self.elastic = os.environ.get("HOROVOD_ELASTIC") == "1"
        if self.size != found.size and not self.elastic:
            raise NotPossibleHere(
                f"{found.launcher} started {found.size} processes, but Horovod sees {self.size}: "
                "its MPI is another one; build it anew with make horovod."
            )
        self.commit_steps = COMMIT_STEPS if self.elastic else 0
        self._committed: tuple[str, State] | None = None
        self._share: Share | None = None
        self._weight = tf.Variable(1.0, trainable=False)
        self._start = tf.Variable(0, trainable=False)
        self._batch = tf.Variable(0, trainable=False)

    def stop_watching(self) -> None:
        """Let this rank take its time from now on."""
        self._watchdog.stop()

    def leave(self) -> None:
        """End the job together with the other ranks; after an error they may not come to it."""
        self._hvd.shutdown()

    def run(self, work: Callable[[], None]) -> None:
        """Do work in which all ranks take part; in an elastic job, anew when ranks come or go.

        Raises
        ------
        NotPossibleHere
            If another rank is lost and the job is not elastic.
        """
        from horovod.common.exceptions import HorovodInternalError

        def guarded() -> None:
            with _lost_ranks_as_horovod_errors():
                work()

        try:
            if self.elastic:
                self._run_elastic(guarded)
            else:
                guarded()
        except HorovodInternalError as error:
            raise NotPossibleHere(
                f"{self._describe()} lost another rank, which ended or hung; its own "
                f"message says why ({_first_line(error)}). The state after the last whole epoch is "
                "kept: the same command goes on from there."
            ) from None

    def _run_elastic(self, work: Callable[[], None]) -> None:
        from horovod.common.elastic import run_fn

        self._elastic_state = _elastic_state(self._hvd)

        def meet_again() -> None:
            with self._watchdog.paused():
                self._hvd.shutdown()
                self._meet()

        run_fn(lambda state: work(), meet_again)(self._elastic_state)

    def follow(self, recipe: Recipe) -> Recipe:
        """Return the recipe that the ranks follow together."""
        if recipe.jit_compile:
            raise ReproError(
                "XLA cannot compile Horovod's sums of gradients: several workers train with "
                "--no-xla."
            )
        if self.elastic and recipe.scaling != "none":
            raise ReproError(
                f"The recipe's scaling is {recipe.scaling}, but the workers of an elastic job come "
                "and go: choose scaling none, or start a job of fixed size."
            )
        return recipe.for_workers(self.size)

    def lead(self, function: Callable[[], Any]) -> Any:
        """Return on every rank what a function returns, or raises, on the leading one."""
        outcome = None
        if self.leads:
            try:
                outcome = (function(), None)
            except ReproError as error:
                outcome = (None, error)
        self._watchdog.beat()
        result, error = self._hvd.broadcast_object(outcome, root_rank=0)
        self._watchdog.beat()
        if error is not None:
            raise error
        return result

    def agree(self, facts: Mapping[str, str]) -> None:
        """Refuse ranks that differ in a fact from the leading one."""
        told = self._hvd.allgather_object(dict(facts))
        differing = {
            rank: [name for name in facts if theirs.get(name) != told[0].get(name)]
            for rank, theirs in enumerate(told)
            if theirs != told[0]
        }
        # An elastic job can do without the ranks that differ; another one cannot.
        if differing and (self.rank in differing or not self.elastic):
            rank, names = next(iter(differing.items()))
            raise ReproError(
                f"Rank {rank} has other {' and '.join(names)} than rank 0: give every machine the "
                "same code, data set and options."
            )

    def sum(self, values: Sequence[float]) -> list[float]:
        """Return the sums of numbers over the ranks."""
        import tensorflow as tf

        self._watchdog.beat()
        total = self._hvd.allreduce(tf.constant(values, tf.float64), op=self._hvd.Sum)
        return [float(value) for value in total.numpy()]

    def average(self, arrays: list[np.ndarray]) -> list[np.ndarray]:
        """Return the means of arrays over the ranks."""
        means = self._hvd.grouped_allreduce(arrays, op=self._hvd.Average)
        return [mean.numpy() for mean in means]

    def average_gradients(self, optimizer: keras.optimizers.Optimizer, compression: str) -> None:
        """Make an optimizer apply the gradient of the whole batch."""
        apply = optimizer.apply

        def apply_average(grads, trainable_variables=None):
            return apply(self._averaged(grads, compression), trainable_variables)

        optimizer.apply = apply_average

    def _averaged(self, gradients: list, compression: str) -> list:
        import tensorflow as tf

        present = [tf.convert_to_tensor(g) * self._weight for g in gradients if g is not None]
        summed = iter(SUMS[compression](self._hvd, present))
        return [None if gradient is None else next(summed) for gradient in gradients]

    def take(self, share: Share) -> None:
        """Say which part of a batch the next step is on."""
        self._watchdog.beat()
        if share != self._share:
            self._share = share
            self._weight.assign(share.weight)
            self._start.assign(share.start)
            self._batch.assign(share.batch)

    def rows_of_batch(self, draw: Callable[[Any], tf.Tensor], n_samples: tf.Tensor) -> tf.Tensor:
        """Return the rows of this rank's samples in an array that is drawn for a whole batch."""
        import tensorflow as tf

        # Keras calls a network on samples of its own before the first batch is known.
        n_drawn = tf.maximum(self._batch, self._start + n_samples)
        return draw(n_drawn)[self._start : self._start + n_samples]

    def commit(self, key: str, state: Callable[[], State]) -> None:
        """Keep a training's state in memory; a good moment for ranks to come and go."""
        if self.elastic:
            self._committed = (key, state())
            self._elastic_state.commit()

    def committed(self, key: str) -> State | None:
        """Return the state that was kept last of a training, if any was."""
        if self._committed is not None and self._committed[0] == key:
            return self._committed[1]
        return None

    def _describe(self) -> str:
        return f"Rank {self.rank} of {self.size}"

    def _meet(self) -> None:
        try:
            self._hvd.init()
        except Exception as error:
            raise NotPossibleHere(
                f"This rank does not meet the others ({_first_line(error)}): see whether all were "
                "started, and whether the machines reach each other."
            ) from None
        self.rank, self.size = self._hvd.rank(), self._hvd.size()

    @staticmethod
    def _choose_gpu(local_rank: int) -> None:
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
        if not gpus:
            return
        if local_rank >= len(gpus):
            raise NotPossibleHere(
                f"This machine has {len(gpus)} GPUs, too few for its process {local_rank + 1}: "
                "start one process a GPU."
            )
        tf.config.set_visible_devices(gpus[local_rank], "GPU")


@contextmanager
def _lost_ranks_as_horovod_errors() -> Iterator[None]:
    """Turn TensorFlow's errors of Horovod's operations into Horovod's own."""
    import tensorflow as tf
    from horovod.common.exceptions import HorovodInternalError

    try:
        yield
    except tf.errors.OpError as error:
        if "horovod" not in str(error).lower():
            raise
        raise HorovodInternalError(_first_line(error)) from None


def _elastic_state(hvd):
    """Return what Horovod's elastic loop asks for; the states are kept by `HorovodWorld`."""
    from horovod.common.elastic import State

    class Nothing(State):
        def save(self) -> None: ...

        def restore(self) -> None: ...

        def sync(self) -> None: ...

    return Nothing(bcast_object=hvd.broadcast_object, get_rank=hvd.rank)


def _require_tensorflow(found: Place) -> None:
    import keras

    if keras.config.backend() != "tensorflow":
        raise ReproError(
            f"{found.launcher} started {found.size} processes, but Horovod trains under TensorFlow "
            f"and the backend is {keras.config.backend()}: unset KERAS_BACKEND, or train on the "
            "devices of one process with --devices."
        )


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
