"""Random numbers that depend on a seed, a purpose and an index, and on nothing else."""

from __future__ import annotations

import hashlib

import numpy as np

DRAWS_PER_PHILOX_BLOCK = 4


def seed_sequence(seed: int, *purpose: str) -> np.random.SeedSequence:
    """Return the seed sequence that belongs to a seed and a purpose.

    Parameters
    ----------
    seed : int
        The run's seed; 0 is a seed like any other.
    purpose : str
        What the numbers are for, such as ``"shuffle"``, from general to special.
    """
    digest = hashlib.sha256("|".join(purpose).encode()).digest()
    words = np.frombuffer(digest[:16], dtype="<u4").tolist()
    return np.random.SeedSequence([seed, *words])


def generator(seed: int, *purpose: str) -> np.random.Generator:
    """Return a NumPy generator for a seed and a purpose."""
    return np.random.Generator(np.random.Philox(seed_sequence(seed, *purpose)))


def row_generators(seeds: np.ndarray) -> list[np.random.Generator]:
    """Return a NumPy generator for each row of a batch.

    What alters a row when it is augmented depends on the row's own seed alone, whatever batch the
    row is in.

    Parameters
    ----------
    seeds : numpy.ndarray
        One for each row, ``(n,)`` uint64, as `repro.datasets.batches.Batches` draws them.
    """
    return [np.random.Generator(np.random.Philox(key=int(seed))) for seed in seeds]


def integer_seed(seed: int, *purpose: str) -> int:
    """Return a 31-bit integer seed for a seed and a purpose, for libraries that want an integer."""
    return int(seed_sequence(seed, *purpose).generate_state(1)[0] >> 1)


def uniform_rows(seed: int, purpose: str, start: int, stop: int, width: int) -> np.ndarray:
    """Draw uniform numbers in [0, 1) for samples ``start`` to ``stop``, a row a sample.

    Row i depends on ``seed``, ``purpose`` and ``start + i`` only: a data set built in shards,
    by any number of workers, or resumed, gets the same numbers.

    Parameters
    ----------
    seed : int
        The data set's seed.
    purpose : str
        What the numbers are for.
    start, stop : int
        First sample, and the one after the last.
    width : int
        Numbers per sample.

    Returns
    -------
    numpy.ndarray
        ``(stop - start, width)`` float64.
    """
    blocks = -(-width // DRAWS_PER_PHILOX_BLOCK)
    philox = np.random.Philox(seed_sequence(seed, purpose))
    philox.advance(start * blocks)
    draws = np.random.Generator(philox).random((stop - start, blocks * DRAWS_PER_PHILOX_BLOCK))
    return draws[:, :width]
