"""Files that are whole or not there at all."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from repro.errors import ReproError


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name beside ``path``; what is written there takes its place when whole.

    Raises
    ------
    ReproError
        If the disk is full; what stood at ``path`` before is still there.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise ReproError(
            f"The disk is full while writing {path}: make room and run the same command again; "
            "what was finished is kept."
        ) from error
    finally:
        partial.unlink(missing_ok=True)
