"""Several devices in one process that share every batch, under JAX."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import keras

from repro.errors import NotPossibleHere, ReproError

# What the backends say when the memory of a device is full.
MEMORY_IS_FULL = ("RESOURCE_EXHAUSTED", "Out of memory", "OOM when allocating")


@contextlib.contextmanager
def use_devices(count: int) -> Iterator[None]:
    """Train on several devices of this process: each computes an equal part of every batch.

    The result is that of one device but for rounding: losses, gradients, normalisation over the
    batch and dropout are those of the whole batch. A batch that the count does not divide, such
    as the last of an epoch, every device computes whole. On a machine without a GPU the processor
    stands for ``count`` devices, for which JAX must not have been used before. Build and train
    networks inside; load them again to use them outside.

    Parameters
    ----------
    count : int
        The devices that share a batch [1]; with 1 nothing changes.

    Raises
    ------
    ReproError
        If the count is below 1, the backend is not JAX, or JAX was used before and has too few
        devices on the processor.
    NotPossibleHere
        If this machine has fewer GPUs.
    """
    if count < 1:
        raise ReproError(f"{count} devices cannot train: give a number of at least 1.")
    if count == 1:
        yield
        return
    if keras.config.backend() != "jax":
        raise ReproError(
            f"{count} devices in one process need KERAS_BACKEND=jax; under "
            f"{keras.config.backend()} start one process per device with horovodrun."
        )
    # Not for longer than the training: under a distribution Model.predict lays out every batch
    # as the first one and fails on a last batch that the devices do not divide.
    with _SharedBatches(devices=_devices(count)).scope():
        yield


def device_count() -> int:
    """Return how many devices share a batch now [1]."""
    distribution = keras.distribution.distribution()
    return 1 if distribution is None else distribution.num_model_replicas


def clear_session() -> None:
    """Let go of all networks, and keep the devices that share a batch."""
    distribution = keras.distribution.distribution()
    keras.utils.clear_session()
    keras.distribution.set_distribution(distribution)


def send(arrays: Any, split: bool = False) -> Any:
    """Send arrays to the devices that JAX computes on.

    Parameters
    ----------
    arrays : tree of numpy.ndarray or None
        What is sent.
    split : bool
        Whether each of several devices gets an equal part of the first axis, or all.
    """
    import jax

    if keras.distribution.distribution() is None:
        return jax.device_put(arrays)
    return jax.tree.map(lambda array: jax.device_put(array, _layout(array, split)), arrays)


def split_over_devices(batch: Any) -> Any:
    """Within a compiled step, let each of several devices compute an equal part of a batch."""
    import jax

    if keras.distribution.distribution() is None:
        return batch
    constrain = jax.lax.with_sharding_constraint
    return jax.tree.map(lambda array: constrain(array, _layout(array, True)), batch)


def committed(array: Any) -> Any:
    """Bind an array to where it is, as JAX does with what it computes: no step compiles twice."""
    import jax

    return jax.device_put(array, array.sharding)


def wait_if_sums_block(values: Any) -> None:
    """Wait for what a step computes, where the devices that share a batch are one processor.

    There two steps in flight can wait for each other's sums over the devices for ever.
    """
    import jax

    if device_count() > 1 and jax.default_backend() == "cpu":
        jax.block_until_ready(values)


def memory() -> float:
    """Return the memory of a device that JAX computes on [byte]; infinite if it does not tell."""
    import jax

    return (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit", math.inf)


def is_memory_full(error: BaseException) -> bool:
    """Tell whether a backend raised an error because the memory of a device is full."""
    return any(text in str(error) for text in MEMORY_IS_FULL)


def _layout(array: Any, split: bool) -> Any:
    distribution = keras.distribution.distribution()
    if split:
        return distribution.get_data_layout(array.shape).backend_layout
    whole = keras.distribution.TensorLayout([None] * array.ndim, distribution.device_mesh)
    return whole.backend_layout


class _SharedBatches(keras.distribution.DataParallel):
    """Data parallelism in which every device computes the whole of a batch it cannot divide."""

    def get_data_layout(self, data_shape):
        """Return how an array is laid out over the devices."""
        if data_shape[0] % self.num_model_replicas == 0:
            return super().get_data_layout(data_shape)
        return keras.distribution.TensorLayout([None] * len(data_shape), self.device_mesh)


def _devices(count: int) -> list[str]:
    import jax

    with contextlib.suppress(RuntimeError):  # in use already: its devices stay as they are
        jax.config.update("jax_num_cpu_devices", count)
    there = keras.distribution.list_devices()
    if len(there) >= count:
        return there[:count]
    if there[0].startswith("cpu"):
        raise ReproError(
            f"JAX was used before with {len(there)} device(s) on the processor and cannot get "
            f"more: ask for {count} devices before anything is computed in this process."
        )
    raise NotPossibleHere(
        f"{count} devices were asked for, but this machine has {len(there)}: ask for no more."
    )
