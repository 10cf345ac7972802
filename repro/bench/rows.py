"""What a benchmark says: rows, the file that keeps them, and how files grow."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from repro.bench.machine import lasting
from repro.errors import ReproError
from repro.files import make_folder, read_json, write_text
from repro.reporting.formatting import sentence_list

FORMAT: Final = "repro-benchmarks"
VERSION: Final = 1
METHOD = 1  # raised when a row's numbers come to mean something else
NETWORKS = Path("benchmarks") / "networks"  # under the results: files that are never changed
WHERE = (f"{NETWORKS}/*.json", "benchmarks.json")  # under a folder of results

Phase = Literal["train", "infer", "data"]
PHASES: tuple[Phase, ...] = ("train", "infer", "data")


class Part(BaseModel):
    """A part of a file: immutable, and no key but its own."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Times(Part):
    """How long a step takes once all is compiled and warm.

    Parameters
    ----------
    median : float
        [s]
    low, high : float
        95 % interval of the median, without an assumption on the distribution [s].
    p95 : float
        95th percentile of single steps [s].
    steps : int
        Steps that were timed [1].
    """

    median: float
    low: float
    high: float
    p95: float
    steps: int


class Ceiling(Part):
    """The most that the device did, measured right before and after.

    Parameters
    ----------
    name : str
        ``"FP32"``, ``"TF32"``, ``"BF16"`` or ``"FP16"`` for products of matrices; ``"memory"``.
    rate : float
        [operations / s], or [byte / s] for memory.
    share : float, optional
        What the network reached of it [1].
    variation : float
        By what the measured ceilings differ, in the highest [1].
    """

    name: str
    rate: float
    share: float | None
    variation: float


class Row(Part):
    """One network, phase, precision, batch size and number of workers.

    Parameters
    ----------
    study, variant, preset, network : str
        What was timed.
    stands_for : list of str
        Tasks of the study that are the same network, trained by the same recipe.
    phase : str
        ``"train"``: steps of training, input pipeline included. ``"infer"``: answers to a batch
        from host to host. ``"data"``: batches made on the host, nothing else.
    precision, backend : str
        Keras dtype policy, and Keras backend; the host makes batches in one precision.
    way : str, optional
        How training steps are taken, as `repro.training.steps` names it.
    batch : int
        Samples of a step, of all workers together [1].
    workers : int
        Processes times devices that share a batch [1].
    definition : str
        Hash of what decides a step's work: if it differs, times do not compare.
    parameters : int, optional
        Weights of the network [1]; None for batches alone.
    flops : int, optional
        Floating-point operations of a forward pass of one sample [1]; None if not counted.
    seconds : Times
        Of a step, or a batch.
    samples_per_second : float
        [1/s]
    first_seconds : float
        The first call, in which programs are compiled [s].
    ready_seconds : Times, optional
        Of a training step whose input is ready.
    waiting : float, optional
        Share of the time that training waits for input [1].
    flops_per_second : float, optional
        Of the network, not of what the compiler makes of it; for training with input ready [1/s].
    matmul, memory : Ceiling, optional
        The device's ceilings.
    peak_gb : float, optional
        Most memory, of the GPU, else of the process [10⁹ byte].
    joules_per_sample : float, optional
        Energy that the GPU took [J].
    busy_elsewhere : float
        Cores of this machine that other processes kept busy meanwhile [1].
    largest : str
        Why no larger batch was tried, where the largest was asked for.
    marks : list of str
        Why a share of a ceiling, or the row, is unreliable; none if it is.
    """

    study: str
    variant: str
    preset: str
    network: str
    stands_for: list[str]
    phase: Phase
    precision: str
    backend: str
    way: str | None = None
    batch: int
    workers: int = 1
    definition: str
    parameters: int | None = None
    flops: int | None = None
    seconds: Times
    samples_per_second: float
    first_seconds: float
    ready_seconds: Times | None = None
    waiting: float | None = None
    flops_per_second: float | None = None
    matmul: Ceiling | None = None
    memory: Ceiling | None = None
    peak_gb: float | None = None
    joules_per_sample: float | None = None
    busy_elsewhere: float = 0.0
    largest: str = ""
    marks: list[str] = []

    @property
    def key(self) -> tuple:
        """What tells the row from others of its machine."""
        return (
            *(self.study, self.variant, self.preset, self.network, self.phase),
            *(self.precision, self.backend, self.batch, self.workers),
        )

    @property
    def title(self) -> str:
        """The row's name for a reader."""
        return f"{self.study} {self.variant} {self.preset} {self.network}"


class LeftOut(Part):
    """What was asked for and not timed, and why."""

    what: str
    reason: str


class BenchmarkFile(Part):
    """The rows of one machine and one state of the code.

    Parameters
    ----------
    machine : dict
        Facts of the machine and its software.
    code : str
        Hash of the code that was timed.
    commit : str, optional
        The commit, where git tells.
    date : str
        Day of the last row, ``YYYY-MM-DD``.
    command : str
        What made the last rows.
    notes : list of str
        What could not be measured, a sentence each.
    rows : list of Row
        What was timed.
    left_out : list of LeftOut
        What was not.
    """

    format: Literal["repro-benchmarks"] = FORMAT
    version: Literal[1] = VERSION
    method: int = METHOD
    machine: dict[str, Any]
    code: str
    commit: str | None = None
    date: str
    command: str
    notes: list[str] = []
    rows: list[Row]
    left_out: list[LeftOut] = []


def read_benchmarks(path: Path) -> BenchmarkFile:
    """Read a file of benchmark rows.

    Raises
    ------
    ReproError
        If it is missing, damaged, or something else.
    """
    content = read_json(path, "give a file that `repro bench --json FILE` wrote")
    try:
        return BenchmarkFile.model_validate(content)
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"]))
        raise ReproError(
            f"{path} is no file of `repro bench --json FILE` ({where}: {fault['msg']})."
        ) from None


def find_benchmarks(folders: Iterable[Path]) -> dict[Path, BenchmarkFile]:
    """Read the files of benchmarks in folders of results, by path.

    Raises
    ------
    ReproError
        If one of them is damaged.
    """
    paths = sorted({p for folder in folders for pattern in WHERE for p in folder.glob(pattern)})
    return {path: read_benchmarks(path) for path in paths}


def write_benchmarks(path: Path, made: BenchmarkFile) -> None:
    """Write rows, beside those that the file has already."""
    together = joined(read_benchmarks(path), made) if path.exists() else made
    write_text(path, together.model_dump_json(indent=1, exclude_defaults=False) + "\n")


def joined(there: BenchmarkFile, made: BenchmarkFile) -> BenchmarkFile:
    """Return the rows of two files; a row that both have is the later one's."""
    new = {row.key for row in made.rows}
    rows = [row for row in there.rows if row.key not in new] + made.rows
    left_out = {item.what: item for item in [*there.left_out, *made.left_out]}
    return made.model_copy(update={"rows": rows, "left_out": list(left_out.values())})


def check_output(path: Path, made: BenchmarkFile) -> None:
    """Refuse a file that rows must not be added to, before anything is timed.

    Parameters
    ----------
    path : pathlib.Path
        Where rows are to go.
    made : BenchmarkFile
        The machine and the code that they will be of.

    Raises
    ------
    ReproError
        If the file is one of those that are committed, has rows of another machine or code, or
        cannot be written.
    """
    make_folder(path.parent)
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise ReproError(
            f"{path} cannot be written: name a file in a folder that you can write to."
        )
    if not path.exists():
        return
    if path.resolve().parent.match(str(NETWORKS)):
        raise ReproError(
            f"{path} is a committed benchmark, which is never changed: name another file, and add "
            "that with `repro bench accept`."
        )
    there = read_benchmarks(path)
    mine, theirs = lasting(made.machine), lasting(there.machine)
    differing = [name for name in mine if theirs.get(name) != mine[name]]
    if (there.method, there.code) != (made.method, made.code):
        differing.append("code")
    if differing:
        raise ReproError(
            f"{path} has rows of another {sentence_list(differing)}: name another file, and "
            "compare the two with `repro bench compare`."
        )
