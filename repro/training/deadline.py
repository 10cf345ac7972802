"""When a command must have ended, and how its work stops before that."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

UNCERTAINTY = 0.1  # of how long work takes, as a share
AGAIN_S = 1.0  # a library that calls back into Python can swallow what is raised there


class TimeIsUp(KeyboardInterrupt):
    """The time of a command is up: work ends as by Ctrl-C, which it can take at any moment."""


class Deadline:
    """A moment by which work must have ended.

    Parameters
    ----------
    seconds : float
        Time until then, from now [s]; by default it never comes.
    """

    def __init__(self, seconds: float = math.inf):
        self._start, self._end = time.monotonic(), time.monotonic() + seconds

    @property
    def passed(self) -> float:
        """Time since it was set [s]."""
        return time.monotonic() - self._start

    @property
    def left(self) -> float:
        """Time that is left [s]."""
        return self._end - time.monotonic()

    def allows(self, seconds: float) -> bool:
        """Tell whether work that takes about so long [s] ends before it."""
        return (1 + UNCERTAINTY) * seconds <= self.left

    @contextmanager
    def enforced(self) -> Iterator[None]:
        """Raise `TimeIsUp` in the main thread when it comes, whatever is done there."""

        def ring(number: int, frame: object) -> None:
            raise TimeIsUp

        if math.isinf(self._end):
            yield
            return
        before = signal.signal(signal.SIGALRM, ring)
        signal.setitimer(signal.ITIMER_REAL, max(self.left, 1e-3), AGAIN_S)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)


NEVER = Deadline()
