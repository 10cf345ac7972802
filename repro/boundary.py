"""What ends a command badly, told in one sentence with an exit status; tracebacks go to a file."""

from __future__ import annotations

import errno
import platform
import shlex
import sys
import tempfile
import traceback
from pathlib import Path

from repro import __version__
from repro.errors import NotPossibleHere, ReproError

UNKNOWN, INTERRUPTED = 4, 130
# What this machine lacks; other faults of the system are mended by another name or place.
LACKING = {
    *(errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOMEM, errno.EMFILE, errno.ENFILE),
    *(errno.EIO, errno.ENODEV, errno.ENXIO, errno.EAGAIN),
}
FULL = {errno.ENOSPC, errno.EDQUOT}
NO_DEVICE = ("Unable to initialize backend", "No visible GPU devices")  # as JAX says it


def told(error: BaseException) -> tuple[str, int]:
    """Return the sentence that tells a user what went wrong, and the exit status.

    Of what nobody expected, a report with all that helps to find the fault is written.
    """
    known = _known(error)
    if known is not None:
        return str(known), known.exit_status
    report = _report(error)
    where = f"its report is in {report}" if report else "no report of it could be written"
    return (
        f"{type(error).__name__}: {_first_line(error)} - this is a fault of repro: {where}; please "
        "send it to the authors with what you did.",
        UNKNOWN,
    )


def _known(error: BaseException) -> ReproError | None:
    """Return what the user could have been told, if an error is of a kind that is foreseen."""
    if isinstance(error, ReproError):
        return error
    if isinstance(error, MemoryError):
        return NotPossibleHere("The memory of this machine is too small: ask for less at a time.")
    if isinstance(error, UnicodeError):
        return _of_text(error)
    if isinstance(error, ImportError) and not (error.name or "repro").startswith("repro"):
        return NotPossibleHere(
            f"The package {error.name} cannot be loaded here ({_first_line(error)}): install it."
        )
    if isinstance(error, RuntimeError) and any(text in str(error) for text in NO_DEVICE):
        return NotPossibleHere(f"JAX finds no such device ({_first_line(error)}): choose another.")
    return _of_system(error) if isinstance(error, OSError) else None


def _of_text(error: UnicodeError) -> ReproError | None:
    if isinstance(error, UnicodeEncodeError) and error.reason == "surrogates not allowed":
        return ReproError("A name here is not in UTF-8, so that no file can tell it: rename it.")
    return None


def _of_system(error: OSError) -> ReproError | None:
    if error.errno is None:
        return None
    what = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if error.errno in FULL:
        return ReproError(f"{what}: make room and run the same command again.")
    if error.errno in LACKING or isinstance(error, ConnectionError | TimeoutError):
        return NotPossibleHere(f"{what}: this machine cannot do it now.")
    return ReproError(f"{what}: name another.")


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), "")


def _report(error: BaseException) -> Path | None:
    from repro.evaluation.records import without_paths

    lines = [
        f"repro {__version__}, Python {platform.python_version()}, {platform.platform()}",
        shlex.join(["repro", *sys.argv[1:]]),
        *traceback.format_exception(error),
    ]
    text = "\n".join(without_paths(lines))
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="repro-error-", suffix=".txt", delete=False, encoding="utf-8",
            errors="backslashreplace",
        ) as file:  # fmt: skip
            file.write(text)
    except OSError:
        return None
    return Path(file.name)
