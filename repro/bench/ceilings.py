"""How fast the machine multiplies matrices: what a network's speed is held against."""

from __future__ import annotations

from time import perf_counter

from repro.bench.device import gpu_name

SIZE, SIZE_ON_A_GPU = 2048, 16384  # of matrices; a GPU is through the smaller before it is warm


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

    def seconds() -> float:
        begin = perf_counter()
        # Fetching one number waits for a device that computes in the background.
        ops.convert_to_numpy(ops.cast(ops.matmul(matrix, matrix)[0, 0], "float32"))
        return perf_counter() - begin

    seconds()
    return 2 * size**3 / min(seconds() for _ in range(repeats)) / 1e9
