"""Batches of a data set in an order that depends on a seed and the epoch, and on nothing else."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import keras
import numpy as np

from repro.errors import ReproError
from repro.seeds import generator

Arrays = np.ndarray | Mapping[str, np.ndarray]
Load = Callable[..., tuple[Arrays, Arrays]]  # of row numbers, perhaps of renewed arrays
Augmented = Callable[..., tuple[Arrays, Arrays]]  # of row numbers, seeds, perhaps renewed arrays
MOST_READERS = 8  # threads that alter samples; more would wait for each other


@dataclass(frozen=True)
class Share:
    """The part of a batch that one of several processes takes.

    Parameters
    ----------
    start, stop : int
        Its samples within the batch.
    batch : int
        Samples of the whole batch [1].
    counted : int
        Samples that count [1]; none where a batch has fewer samples than there are processes, and
        this one takes a sample of another only to keep in step.
    """

    start: int
    stop: int
    batch: int
    counted: int

    @classmethod
    def of(cls, batch: int, rank: int, size: int) -> Share:
        """Return the share of a rank: shares are disjoint and differ by at most one sample."""
        start, stop = rank * batch // size, (rank + 1) * batch // size
        if start == stop:
            return cls(0, 1, batch, 0)
        return cls(start, stop, batch, stop - start)

    @property
    def weight(self) -> float:
        """What a mean over the share counts in the mean over the batch."""
        return self.counted / self.batch


class Batches(keras.utils.PyDataset):
    """Batches of chosen samples, in a new order every epoch.

    The order is a function of ``seed`` and ``epoch``: training that is resumed in epoch 7 sees
    the batches that it would have seen without the interruption.

    Parameters
    ----------
    load : callable
        Called with row numbers, ``(n,)`` int64; returns ``(x, y)``, each an array or a dict of
        arrays with n samples along the first axis. Equal rows must give equal arrays.
    rows : array_like
        ``(n_rows,)`` int, the samples to draw from, such as ``dataset.rows("train")``.
    batch_size : int
        Samples per batch; the last batch of an epoch may be smaller.
    seed : int or None
        Seed of the order; ``None`` keeps the order of ``rows`` in every epoch.
    drop_remainder : bool
        Leave out the last batch of an epoch if it is smaller than ``batch_size``.
    augmented : callable, optional
        Called instead of ``load``, with row numbers and a seed for each of them, ``(n,)`` uint64;
        the seed of a row depends on ``seed``, its place in ``rows`` and the epoch alone.

    Attributes
    ----------
    arrays : dict of numpy.ndarray or None
        What ``load`` and ``augmented`` get as a last argument unless it is None: arrays that are
        found anew between epochs.
    waited : float
        How long those who asked for batches have waited for them [s].

    Raises
    ------
    ReproError
        If not even one batch can be made.
    """

    def __init__(
        self,
        load: Load,
        rows: np.ndarray,
        batch_size: int,
        seed: int | None,
        drop_remainder: bool = False,
        augmented: Augmented | None = None,
    ):
        super().__init__()
        self.load, self.augmented = load, augmented
        self.rows = np.asarray(rows, dtype=np.int64)
        self.batch_size = batch_size
        self.seed = seed
        self.drop_remainder = drop_remainder
        self.arrays: Mapping[str, np.ndarray] | None = None
        self.waited = 0.0
        self._check()
        self.epoch = 0

    def _check(self) -> None:
        if self.batch_size < 1:
            raise ReproError(
                f"The batch size is {self.batch_size}: choose a whole number of at least 1."
            )
        if self.augmented is not None and self.seed is None:
            raise ReproError("Augmented batches need a seed: give one.")
        if self.n_samples == 0:
            raise ReproError(
                f"{len(self.rows)} samples do not fill one batch of {self.batch_size}: "
                "build a larger split or choose a smaller batch size."
            )

    @property
    def n_samples(self) -> int:
        """Samples seen in one epoch."""
        left_out = len(self.rows) % self.batch_size if self.drop_remainder else 0
        return len(self.rows) - left_out

    @property
    def epoch(self) -> int:
        """The epoch, from 0, whose order the batches are in."""
        return self._epoch

    @epoch.setter
    def epoch(self, epoch: int) -> None:
        self._epoch = epoch
        self._order = np.arange(len(self.rows))
        if self.seed is not None:
            shuffle = generator(self.seed, "order of samples", str(epoch))
            self._order = shuffle.permutation(len(self.rows))
        if self.augmented is not None:
            draw = generator(self.seed, "augmentation", str(epoch))
            self._seeds = draw.integers(2**64, size=len(self.rows), dtype=np.uint64)

    def __len__(self) -> int:
        return -(-self.n_samples // self.batch_size)

    def __getitem__(self, index: int) -> tuple[Arrays, Arrays]:
        if not 0 <= index < len(self):
            raise IndexError(f"batch {index} of {len(self)}")
        return self.read(self.places_of_batch(index))

    def __iter__(self) -> Iterator[tuple[Arrays, Arrays]]:
        """Yield an epoch's batches."""
        return ((x, y) for x, y, _ in self.shares(0, 1))

    def shares(
        self, rank: int, size: int, first: int = 0
    ) -> Iterator[tuple[Arrays, Arrays, Share]]:
        """Yield one process's share of an epoch's batches.

        The next shares are read while the caller works on the last.

        Parameters
        ----------
        rank, size : int
            Which of how many processes.
        first : int
            Batch to begin with, from 0.
        """

        def read(index: int) -> tuple[Arrays, Arrays, Share]:
            places = self.places_of_batch(index)
            share = Share.of(len(places), rank, size)
            return *self.read(places[share.start : share.stop]), share

        return self._read_ahead(read, range(first, len(self)))

    def read(self, places: np.ndarray) -> tuple[Arrays, Arrays]:
        """Return the samples at some places of ``rows``."""
        renewed = () if self.arrays is None else (self.arrays,)
        if self.augmented is not None:
            return self.augmented(self.rows[places], self._seeds[places], *renewed)
        return self.load(self.rows[places], *renewed)

    def places_of_batch(self, index: int) -> np.ndarray:
        """Return where in ``rows`` the samples of a batch are, ``(n,)`` int64."""
        start = index * self.batch_size
        return self._order[: self.n_samples][start : start + self.batch_size]

    def _read_ahead(
        self, read: Callable[[int], tuple[Arrays, Arrays, Share]], indices: Iterable[int]
    ) -> Iterator[tuple[Arrays, Arrays, Share]]:
        """Yield what is read of batches, in order, from threads that are a batch each ahead."""
        with ThreadPoolExecutor(self._n_readers) as readers:
            coming: deque[Future] = deque()
            for index in indices:
                coming.append(readers.submit(read, index))
                if len(coming) > self._n_readers:
                    yield self._wait_for(coming.popleft())
            while coming:
                yield self._wait_for(coming.popleft())

    @property
    def _n_readers(self) -> int:
        """Threads that read: one, but on many cores several where samples are altered."""
        return 1 if self.augmented is None else min(MOST_READERS, max(1, os.cpu_count() // 2))

    def _wait_for(self, coming: Future) -> tuple[Arrays, Arrays, Share]:
        start = time.perf_counter()
        try:
            return coming.result()
        finally:
            self.waited += time.perf_counter() - start

    def on_epoch_end(self) -> None:
        """Go on to the next epoch's order; Keras calls this."""
        self.epoch += 1


def gather(x: Arrays, y: Arrays) -> Load:
    """Return a ``load`` for `Batches` that reads rows of arrays, or of dicts of arrays.

    Parameters
    ----------
    x, y : numpy.ndarray or dict of numpy.ndarray
        ``(n, ...)``; memory-mapped arrays are read a batch at a time.
    """
    return lambda rows: (_take(x, rows), _take(y, rows))


def _take(arrays: Arrays, rows: np.ndarray) -> Arrays:
    if isinstance(arrays, Mapping):
        return {name: array[rows] for name, array in arrays.items()}
    return arrays[rows]
