"""How fast the machine multiplies matrices and moves memory: what a network is held against."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter

import numpy as np

from repro.bench.device import gpu_name, usable_cores

SIZE, SIZE_ON_A_GPU = 2048, 16384  # of matrices; a GPU is through the smaller before it is warm
BYTES, BYTES_ON_A_GPU = 2**27, 2**30  # of the array that is read and written
MEMORY = "memory"
TF32_SINCE = 8.0  # compute capability
LABELS = {"bfloat16": "BF16", "float16": "FP16"}


def matmul_gflops(dtype: str, size: int | None = None, repeats: int = 5) -> float:
    """Return the fastest of several products of square matrices [10⁹ operations / s].

    Parameters
    ----------
    dtype : str
        Such as ``"float32"`` or ``"bfloat16"``.
    size : int, optional
        Rows and columns; by default enough to fill the device.
    repeats : int
        Products that are timed, after one that is not.
    """
    import keras
    from keras import ops

    size = size or (SIZE_ON_A_GPU if gpu_name() else SIZE)
    # Not all ones: the power that a GPU draws, and with it its clock, depend on the bits.
    matrix = keras.random.normal((size, size), dtype=dtype, seed=0)
    seconds = _fastest(lambda: ops.matmul(matrix, matrix)[0, 0], repeats)
    return 2 * size**3 / seconds / 1e9


def memory_gbytes(size: int | None = None, repeats: int = 5) -> float:
    """Return how fast an array is read and written elsewhere [10⁹ byte / s], both counted.

    Parameters
    ----------
    size : int, optional
        Bytes of the array; by default too many for the caches.
    repeats : int
        As `matmul_gflops`.
    """
    size = size or (BYTES_ON_A_GPU if gpu_name() else BYTES)
    if gpu_name():
        from keras import ops

        array = ops.ones((size // 4,), dtype="float32")
        return 2 * size / _fastest(lambda: ops.negative(array)[0], repeats) / 1e9
    return 2 * size / _fastest_copy(size, repeats) / 1e9


def _fastest_copy(size: int, repeats: int) -> float:
    """Return the least time in which all cores copy an array [s].

    Not by the backends: for a new array they may wait for the system to give them memory.
    """
    source, target = np.ones(size, np.uint8), np.zeros(size, np.uint8)
    parts = [slice(i * size // n, (i + 1) * size // n) for n in [usable_cores()] for i in range(n)]
    with ThreadPoolExecutor(len(parts)) as threads:

        def copy() -> int:
            list(threads.map(lambda part: np.copyto(target[part], source[part]), parts))
            return 0

        return _fastest(copy, repeats)


def matmul_label(dtype: str) -> str:
    """Return what the device makes of a product of that dtype: FP32, TF32, BF16 or FP16."""
    if dtype in LABELS:
        return LABELS[dtype]
    return "TF32" if gpu_name() and _rounds_to_tf32() else "FP32"


def _rounds_to_tf32() -> bool:
    import keras

    if keras.config.backend() == "tensorflow":
        import tensorflow as tf

        device = tf.config.list_physical_devices("GPU")[0]
        details = tf.config.experimental.get_device_details(device)
        capability = float("{}.{}".format(*details.get("compute_capability", (0, 0))))
        enabled = tf.config.experimental.tensor_float_32_execution_enabled()
        return enabled and capability >= TF32_SINCE
    import jax

    capability = float(getattr(jax.local_devices()[0], "compute_capability", "0"))
    exact = jax.config.jax_default_matmul_precision in ("float32", "highest")
    return not exact and capability >= TF32_SINCE


def _fastest(compute: Callable, repeats: int) -> float:
    """Return the least time of several runs, of which one more comes first [s]."""
    from keras import ops

    def seconds() -> float:
        begin = perf_counter()
        # Fetching one number waits for a device that computes in the background.
        ops.convert_to_numpy(ops.cast(compute(), "float32"))
        return perf_counter() - begin

    seconds()
    return min(seconds() for _ in range(repeats))


class Ceilings:
    """Ceilings, measured again and again between the rows that are held against them.

    Parameters
    ----------
    measure : callable, optional
        From ``"memory"`` or a dtype to a rate [operations / s or byte / s].
    """

    def __init__(self, measure: Callable[[str], float] | None = None):
        self._measure = measure or _rate
        self._last: dict[str, float] = {}
        self.best: dict[str, float] = {}

    def before(self, kind: str) -> float:
        """Return the ceiling that was measured last, or measure it for the first time."""
        return self._last[kind] if kind in self._last else self.after(kind)

    def after(self, kind: str) -> float:
        """Measure a ceiling now."""
        self._last[kind] = rate = self._measure(kind)
        self.best[kind] = max(rate, self.best.get(kind, 0.0))
        return rate


def _rate(kind: str) -> float:
    return 1e9 * (memory_gbytes(repeats=3) if kind == MEMORY else matmul_gflops(kind, repeats=3))
