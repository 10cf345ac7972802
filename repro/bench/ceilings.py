"""How fast the machine multiplies matrices: what a network's speed is held against."""

from __future__ import annotations

from time import perf_counter


def matmul_gflops(dtype: str, size: int = 2048, repeats: int = 5) -> float:
    """Return the fastest of several products of square matrices [10⁹ operations / s].

    Parameters
    ----------
    dtype : str
        Such as ``"float32"`` or ``"bfloat16"``.
    size : int
        Rows and columns.
    repeats : int
        Products that are timed, after one that is not.
    """
    from keras import ops

    matrix = ops.ones((size, size), dtype=dtype)

    def seconds() -> float:
        begin = perf_counter()
        # Fetching one number waits for a device that computes in the background.
        ops.convert_to_numpy(ops.cast(ops.matmul(matrix, matrix)[0, 0], "float32"))
        return perf_counter() - begin

    seconds()
    return 2 * size**3 / min(seconds() for _ in range(repeats)) / 1e9
