"""Where progress goes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Progress = Callable[[int, int], None]


class Display:
    """Where progress goes; this one shows nothing."""

    quiet = True

    def announce(self, text: str) -> None:
        """Say what is being done now."""

    @contextmanager
    def bar(self, label: str) -> Iterator[Progress]:
        """Show a bar; yields what to call with the number done and the number in all."""
        yield lambda done, total: None


SILENT = Display()
