"""Ends a process that waits in vain: for data, for a compiler, or for another rank."""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from repro.errors import NotPossibleHere

SECONDS_FOR_THE_OTHERS = 4.0


class Watchdog:
    """Ends this process with a message when it has given no sign of life for too long.

    Parameters
    ----------
    timeout_s : float
        Time without a sign of life [s].
    name : callable
        Returns how the message calls this process.

    Attributes
    ----------
    timeout_s : float
        May be changed while it watches.
    """

    def __init__(self, timeout_s: float, name: Callable[[], str]):
        self.timeout_s, self._name = timeout_s, name
        self._stopped = threading.Event()
        self._paused = False
        self.beat()

    def start(self) -> None:
        """Begin to watch."""
        self.beat()
        threading.Thread(target=self._watch, daemon=True).start()

    def stop(self) -> None:
        """Watch no longer."""
        self._stopped.set()

    def beat(self) -> None:
        """Give a sign of life."""
        self._last = time.monotonic()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Expect no sign of life for a while."""
        self._paused = True
        yield
        self.beat()
        self._paused = False

    def _watch(self) -> None:
        while not self._stopped.wait(min(1.0, self.timeout_s / 10)):
            if not self._paused and time.monotonic() - self._last > self.timeout_s:
                self._end()

    def _end(self) -> None:
        sys.stderr.write(
            f"error: {self._name()} took no step for {self.timeout_s:g} s: this rank or another "
            "hangs. The state after the last whole epoch is kept: the same command goes on from "
            "there. This rank is at:\n"
        )
        faulthandler.dump_traceback()
        sys.stderr.flush()
        # A launcher ends the other ranks with the first: they shall have their say before.
        time.sleep(SECONDS_FOR_THE_OTHERS)
        # The main thread may wait in a library for ever: no orderly way out.
        os._exit(NotPossibleHere.exit_status)
