"""Independent pieces of NumPy's work on all cores."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from threadpoolctl import threadpool_limits

Piece = TypeVar("Piece")
Result = TypeVar("Result")


def side_by_side(function: Callable[[Piece], Result], pieces: Iterable[Piece]) -> Iterator[Result]:
    """Call a function for each piece on threads, as many as there are cores; yield the results.

    NumPy works without Python's lock, so that threads do where processes would have to be handed
    all arrays. BLAS gets one thread for each: cores are not asked for twice, and a result does not
    depend on their number.

    Parameters
    ----------
    function : callable
        Must not depend on the order in which pieces are done.
    pieces : iterable
        What it takes.

    Yields
    ------
    object
        What it returns, in the order of the pieces.
    """
    threads = int(os.environ.get("OMP_NUM_THREADS", 0)) or os.cpu_count() or 1
    pool = ThreadPoolExecutor(threads)
    with threadpool_limits(1):
        try:
            yield from pool.map(function, pieces)
        finally:
            pool.shutdown(cancel_futures=True)
