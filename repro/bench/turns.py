"""Two states of the code timed in turns on one machine, so that what disturbs one disturbs both.

Two files of timings are made hours or weeks apart, and a machine that is shared differs between
them by more than a tenth. Here two processes, one a code, wait for each other: in each round both
take some steps right after one another, which goes first changes from round to round, and only the
ratios within rounds count.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import repro
from repro.bench.tables import markdown_table, milliseconds
from repro.display import SILENT, Display
from repro.errors import GateFailed, ReproError
from repro.evaluation.metrics import student_t_interval
from repro.reporting.formatting import MISSING, count

SLOWER = 1.05  # times as long that a step may take: half of the tenth that must be seen
TENTH = 1.1
FEWEST_ROUNDS = 3
# Of the interval's half width: with it, a tenth is found in 99 of 100 cases.
NARROW = 1.04
MOST = 5  # times the rounds asked for, until the interval is as narrow
ROUND_S = 0.5  # of one code in a round, where a step is not longer
WORKER = Path(__file__).with_name("turns_worker.py")
HEADER = ("network", "A", "B", "B takes, times as long", "")


@dataclass(frozen=True)
class Turn:
    """A network of both codes, over all rounds.

    Parameters
    ----------
    name : str
        Which.
    seconds : tuple
        Median over rounds of the time of a step, of A and of B [s]; None where it is not timed.
    slowdown, low, high : float or None
        How many times as long B takes, mean over rounds with its 95 % interval [1].
    result : str
        ``"slower"``, ``"faster"``, ``"no difference"``, ``"undecided"`` where a tenth could not
        have been seen, ``"lost"``, ``"new"`` or ``"another network"``.
    ratios : tuple of float
        How many times as long B took in each round [1].
    """

    name: str
    seconds: tuple[float | None, float | None]
    slowdown: float | None
    low: float | None
    high: float | None
    result: str
    ratios: tuple[float, ...] = ()

    @property
    def fails(self) -> bool:
        """Whether B is slower, or lacks the network."""
        return self.result in ("slower", "lost")


@dataclass(frozen=True)
class Turns:
    """What came of timing two codes in turns."""

    rows: tuple[Turn, ...]
    rounds: int

    @property
    def exit_status(self) -> int:
        """1 if a network is slower or lost."""
        return GateFailed.exit_status if any(row.fails for row in self.rows) else 0

    def facts(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {**asdict(self), "exit_status": self.exit_status}

    def page(self) -> str:
        """Return a table in Markdown."""
        failing = count(sum(row.fails for row in self.rows), "network")
        return "\n".join(
            [
                f"Both codes timed in turns, {count(self.rounds, 'round')} or more.",
                "",
                markdown_table(HEADER, [_line(row) for row in self.rows]),
                "",
                f"{failing} of {len(self.rows)} slower by more than {SLOWER - 1:.0%}, or lost.",
            ]
        )


class Worker:
    """A process that takes steps of one code's networks when it is told to."""

    def __init__(self, code: Path, words: Sequence[str]):
        paths = [str(code), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
        if (code / "data_specs").is_dir():
            environment |= {"REPRO_DATA_SPECS": str(code / "data_specs")}
        self._code = code
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(WORKER), *words],
            cwd=code, env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def answer(self) -> Any:
        """Return the next answer.

        Raises
        ------
        ReproError
            If the process ended instead.
        """
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise ReproError(f"{self._code} could not be timed: try `repro bench` there.")
        return json.loads(line)

    def ask(self, **what: Any) -> Any:
        """Return the answer to a question."""
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):  # which the missing answer tells
                self._process.stdin.write(json.dumps(what) + "\n")
                self._process.stdin.flush()
        return self.answer()

    def end(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()  # which closes its pipes


def time_in_turns(
    other: Path,
    groups: Sequence[tuple[str, str, str]],
    phase: str,
    rounds: int,
    display: Display = SILENT,
) -> Turns:
    """Time another checkout, A, and the code that runs, B.

    Parameters
    ----------
    other : Path
        The checkout.
    groups : sequence of tuple
        Study, variant and preset.
    phase : str
        ``"train"``, ``"infer"`` or ``"data"``.
    rounds : int
        How often both are timed at least; more often where the machine is busy [1].
    display : Display
        Where progress goes.

    Raises
    ------
    ReproError
        If there is no such checkout, a code cannot be timed, or there are too few rounds.
    """
    if not (other / "repro" / "__init__.py").is_file():
        raise ReproError(f"{other} is no checkout of repro: name the folder that holds repro/.")
    if rounds < FEWEST_ROUNDS:
        raise ReproError(f"--rounds {rounds}: a spread takes at least {FEWEST_ROUNDS}.")
    codes = other.resolve(), Path(repro.__file__).resolve().parents[1]
    rows = [row for group in groups for row in _group(codes, (*group, phase), rounds, display)]
    return Turns(tuple(rows), rounds)


def _group(
    codes: tuple[Path, Path], words: Sequence[str], rounds: int, display: Display
) -> Iterator[Turn]:
    """Yield the networks of a study, variant and preset."""
    with contextlib.ExitStack() as ending:
        a, b = (Worker(code, words) for code in codes)
        ending.callback(a.end)
        ending.callback(b.end)
        old, new = a.answer(), b.answer()
        for network in dict.fromkeys([*old, *new]):
            name = " ".join((*words[:3], network, words[3]))
            display.announce(f"time {name}")
            if network not in old or network not in new:
                result = "lost" if network in old else "new"
                yield Turn(name, (None, None), None, None, None, result)
                continue
            ready = a.ask(network=old.index(network)), b.ask(network=new.index(network))
            if ready[0]["alike"] != ready[1]["alike"]:
                yield Turn(name, (None, None), None, None, None, "another network")
                continue
            steps = int(ROUND_S / max(one["seconds"] for one in ready))
            steps = max(1, min(steps, *(one["most"] for one in ready)))
            yield held_together(name, list(_rounds(a, b, steps, rounds)))


def _rounds(a: Worker, b: Worker, steps: int, rounds: int) -> Iterator[tuple[float, float]]:
    """Yield the time of a step of both in each round [s], until there are enough."""
    logs: list[float] = []
    while not is_enough(logs, rounds):
        if len(logs) % 2:
            second, first = b.ask(steps=steps), a.ask(steps=steps)
        else:
            first, second = a.ask(steps=steps), b.ask(steps=steps)
        logs.append(math.log(second / first))
        yield first, second


def is_enough(logs: Sequence[float], rounds: int) -> bool:
    """Whether logarithms of ratios are as many as asked for, and their mean is known well enough.

    Their spread alone decides, not their mean, lest it be taken where it happens to be large.
    """
    interval = student_t_interval(list(logs)) if len(logs) >= rounds else None
    if interval is None:
        return False
    return interval[1] - interval[0] <= 2 * math.log(NARROW) or len(logs) >= MOST * rounds


def held_together(name: str, rounds: Sequence[tuple[float, float]]) -> Turn:
    """Return what the times of a step of A and B in some rounds [s] say of a network."""
    ratios = tuple(b / a for a, b in rounds)
    medians = tuple(float(np.median([times[i] for times in rounds])) for i in (0, 1))
    return Turn(name, (medians[0], medians[1]), *judged(ratios), ratios=ratios)


def judged(ratios: Sequence[float]) -> tuple[float, float | None, float | None, str]:
    """Return the mean ratio of some rounds, its 95 % interval and what it says.

    Ratios are taken by their logarithms, so that twice and half as long lie as far from 1.
    """
    logs = np.log(ratios)
    slowdown, interval = float(np.exp(np.mean(logs))), student_t_interval(list(logs))
    if interval is None:
        return slowdown, None, None, "undecided"
    low, high = math.exp(interval[0]), math.exp(interval[1])
    if slowdown > SLOWER and low > 1:
        return slowdown, low, high, "slower"
    if slowdown < 1 / SLOWER and high < 1:
        return slowdown, low, high, "faster"
    # Half its width: what would have had to be added for it to leave 1.
    blind = math.sqrt(high / low) > TENTH
    return slowdown, low, high, "undecided" if blind else "no difference"


def _line(row: Turn) -> list[str]:
    times = [MISSING if x is None else milliseconds(x) for x in row.seconds]
    ratio = MISSING if row.slowdown is None else f"{row.slowdown:.3f}"
    if row.low is not None and row.high is not None:
        ratio += f" ({row.low:.3f} to {row.high:.3f})"
    return [row.name, *times, ratio, f"FAILS: {row.result}" if row.fails else row.result]
