"""One task under several versions of the libraries: which version moved which number or speed."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

import repro
from repro.bench.machine import code_version
from repro.bench.tables import markdown_table
from repro.display import SILENT, Display
from repro.errors import GateFailed, NotPossibleHere, ReproError
from repro.evaluation.provenance import command_line
from repro.evaluation.records import first_problem, read_record, without_paths
from repro.evaluation.regression import Comparison
from repro.files import make_folder, read_json, write_text
from repro.reporting.comparisons import RECORD_FILE, compare_records
from repro.reporting.formatting import MISSING, number

LATEST = "latest"
HEADER = ("versions", "outcome", "metrics that moved", "training [samples/s]")
SHOWN = 4  # metrics a row
KEPT = "matrix"  # under the results
FILE = "matrix.json"  # in the folder of environments and runs
SOURCE = ("setup.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE", "MANIFEST.in")


@dataclass(frozen=True)
class Cell:
    """The task under one set of versions.

    Parameters
    ----------
    versions : dict
        As asked for, by package.
    record : Path, optional
        The run's record; None if it failed.
    failure : str
        What went wrong, in a line; empty if nothing did.
    comparison : Comparison, optional
        With the first record; None of that itself, and of a failure.
    """

    versions: dict[str, str]
    record: Path | None = None
    failure: str = ""
    comparison: Comparison | None = None

    @property
    def name(self) -> str:
        """The versions in a word."""
        return "-".join(f"{package}{version}" for package, version in self.versions.items())


class Moved(BaseModel):
    """A metric that is not what it was under the first versions: what became of it, and means."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")

    metric: str
    status: str
    before: float | None
    after: float | None


class Versions(BaseModel):
    """What came of a task under one set of versions.

    Parameters
    ----------
    versions : dict
        As asked for, by package.
    packages : dict
        As installed; empty if that failed.
    outcome : str
        ``"first"``, ``"passed"``, ``"failed"``, ``"not comparable"``, or ``"no run"``.
    failure : str
        Why there is no run.
    moved : list of Moved
        The metrics that moved.
    speed, first_speed : float, optional
        Of training, here and under the first versions [samples/s].
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    versions: dict[str, str]
    packages: dict[str, str] = {}
    outcome: Literal["first", "passed", "failed", "not comparable", "no run"]
    failure: str = ""
    moved: list[Moved] = []
    speed: float | None = None
    first_speed: float | None = None


class MatrixFile(BaseModel):
    """A task under several versions of the libraries, as it is kept.

    Parameters
    ----------
    date, commit : str
        Day, in UTC, and commit or version of the code.
    machine : str
        Accelerator, else processor with its cores.
    command : str
        What makes it again.
    rows : list of Versions
        One for each set; the others are held to the first that ran.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["repro-matrix"] = "repro-matrix"
    date: str
    commit: str
    machine: str
    command: str
    rows: list[Versions]


def matrix_file(cells: Sequence[Cell], command: str | None = None) -> MatrixFile:
    """Return what is kept of a matrix; the command is that which runs, unless one is given."""
    records = [read_record(cell.record) if cell.record else None for cell in cells]
    first = next((record for record in records if record is not None), None)
    rows = []
    for cell, record in zip(cells, records, strict=True):
        comparison, speed = cell.comparison, cell.comparison and cell.comparison.speed
        outcome = comparison.status if comparison else "first" if record else "no run"
        rows.append(
            Versions(
                versions=cell.versions,
                packages=record.environment.packages if record else {},
                outcome=outcome,
                failure=without_paths(cell.failure),
                moved=[
                    Moved(metric=r.metric, status=r.status, before=r.baseline, after=r.candidate)
                    for r in (comparison.moved if comparison else ())
                ],
                speed=speed.candidate if speed else None,
                first_speed=speed.baseline if speed else None,
            )
        )
    environment = first.environment if first else None
    machine = "unknown: nothing ran"
    if environment is not None:
        machine = environment.gpu or f"{environment.processor}, {environment.cores} cores"
    return MatrixFile(
        date=datetime.now(UTC).date().isoformat(),
        commit=code_version(),
        machine=machine,
        command=command or command_line(),
        rows=rows,
    )


def write_matrix(made: MatrixFile, path: Path) -> Path:
    """Write what is kept of a matrix, whole or not at all."""
    make_folder(path.parent)
    write_text(path, made.model_dump_json(indent=1) + "\n")
    return path


def kept_path(name: str, results: Path) -> Path:
    """Return where a matrix is kept under the results.

    Raises
    ------
    ReproError
        If the name cannot be a file's.
    """
    if not re.fullmatch(r"[\w.-]*\w", name):
        raise ReproError(f"--keep {name}: write it in letters, digits, -, _ and dots.")
    return results / KEPT / f"{name}.json"


def find_matrices(folders: Iterable[Path]) -> dict[Path, MatrixFile]:
    """Read what is kept of matrices in folders of results, by path.

    Raises
    ------
    ReproError
        If a file is damaged.
    """
    paths = sorted({path for folder in folders for path in folder.glob(f"{KEPT}/*.json")})
    return {path: _read(path) for path in paths}


def _read(path: Path) -> MatrixFile:
    content = read_json(path, "make it anew with `repro matrix --keep`")
    try:
        return MatrixFile.model_validate(content)
    except ValidationError as error:
        problem = first_problem(error)
        raise ReproError(f"{path} is no file of `repro matrix --keep`: {problem}.") from None


def combinations(**asked: Sequence[str]) -> list[dict[str, str]]:
    """Return every combination of versions of packages; the first is what others are held to."""
    given = {package: versions for package, versions in asked.items() if versions}
    if not given:
        raise ReproError("Name versions of at least one library, such as --keras 3.14,latest.")
    return [dict(zip(given, chosen, strict=True)) for chosen in itertools.product(*given.values())]


def run_matrix(
    task: Sequence[str], cells: Sequence[dict[str, str]], out: Path, display: Display = SILENT
) -> list[Cell]:
    """Run a task in an environment of its own for each set of versions.

    Parameters
    ----------
    task : sequence of str
        Words that follow ``repro run``, without ``--out``.
    cells : sequence of dict
        Versions by package.
    out : Path
        The folder of environments and runs; what is there already is used again.
    display : Display
        Where progress is shown.

    Returns
    -------
    list of Cell
        One for each set; what fails is a row and ends nothing.

    Raises
    ------
    NotPossibleHere
        If uv is not installed, or this is no checkout that could be installed elsewhere.
    """
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    source = Path(repro.__file__).resolve().parents[1]
    if uv is None or not (source / "setup.cfg").is_file():
        raise NotPossibleHere("A matrix needs uv and a checkout of repro: `pip install uv` there.")
    source = _copied(source, out.absolute() / "source")
    made: list[Cell] = []
    for versions in cells:
        cell = Cell(versions)
        display.announce(f"{cell.name}: environment, then {' '.join(task)}")
        failure, record = _run(uv, source, task, cell, out.absolute())
        made.append(_compared(Cell(versions, record, failure), made))
    return made


def _copied(checkout: Path, copy: Path) -> Path:
    """Copy what is installed: building in the checkout would leave files there."""
    shutil.rmtree(copy, ignore_errors=True)
    make_folder(copy)
    for name in SOURCE:
        shutil.copy(checkout / name, copy)
    unmade = shutil.ignore_patterns("__pycache__", "latest", ".*")
    for name in ("repro", "data_specs", "results"):
        shutil.copytree(checkout / name, copy / name, ignore=unmade)
    return copy


def _compared(cell: Cell, before: Sequence[Cell]) -> Cell:
    first = next((one.record for one in before if one.record is not None), None)
    if cell.record is None or first is None:
        return cell
    comparison = compare_records(read_record(first), read_record(cell.record))
    return Cell(cell.versions, cell.record, cell.failure, comparison)


def _run(
    uv: str, source: Path, task: Sequence[str], cell: Cell, out: Path
) -> tuple[str, Path | None]:
    """Return what went wrong and the record: one of both."""
    folder = out / cell.name
    make_folder(folder)
    python, run = folder / "env" / "bin" / "python", folder / "run"
    wanted = [_requirement(package, version) for package, version in cell.versions.items()]
    overrides = folder / "overrides.txt"
    write_text(overrides, "\n".join([*wanted, ""]))
    commands = [
        [
            *(uv, "pip", "install", "--quiet", "--python", python, "--overrides", overrides),
            f"{source}[{_extras(cell)}]",
        ],
        [python, "-m", "repro", "run", *task, "--out", run, "--quiet"],
    ]
    if not python.exists():
        commands.insert(0, [uv, "venv", "--quiet", "--python", sys.executable, folder / "env"])
    for command in commands:
        words = [str(word) for word in command]
        done = subprocess.run(
            words, cwd=folder, env=_environment(cell), capture_output=True, text=True
        )
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.strip()]
            said = next((line for line in lines if "error" in line.lower()), "")
            return said or (lines or ["it said nothing"])[-1], None
    return "", run / RECORD_FILE


def _requirement(package: str, version: str) -> str:
    name = "tensorflow-cpu" if package == "tensorflow" else package
    if version == LATEST:
        return name
    exact = version.count(".") > 1
    return f"{name}=={version}" if exact else f"{name}=={version}.*"


def _extras(cell: Cell) -> str:
    return "cpu,jax" if "jax" in cell.versions else "cpu"


def _environment(cell: Cell) -> dict[str, str]:
    """Return variables that name neither this checkout nor another environment."""
    ours = ("REPRO_", "PYTHON", "VIRTUAL_ENV", "KERAS_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return kept | ({"KERAS_BACKEND": "jax"} if "jax" in cell.versions else {})


def exit_status(cells: Sequence[Cell]) -> int:
    """Return 1 if a set of versions failed or moved a number that gates."""
    moved = any(cell.comparison is not None and cell.comparison.exit_status for cell in cells)
    return GateFailed.exit_status if moved or any(cell.failure for cell in cells) else 0


def facts(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """Return the cells as JSON values."""
    return [
        {
            "versions": cell.versions,
            "failure": cell.failure,
            "comparison": None if cell.comparison is None else asdict(cell.comparison),
        }
        for cell in cells
    ]


def page(cells: Sequence[Cell]) -> str:
    """Return a table in Markdown, one row a set of versions."""
    return markdown_table(HEADER, [line(row) for row in matrix_file(cells, "").rows])


def line(row: Versions) -> list[str]:
    """Return a set of versions in the columns of `HEADER`."""
    versions = ", ".join(f"{package} {version}" for package, version in row.versions.items())
    if row.outcome == "no run":
        return [versions, f"failed: {row.failure}", MISSING, MISSING]
    if row.outcome == "first":
        return [versions, "what the others are held to", MISSING, MISSING]
    names = [f"{moved.metric} ({moved.status})" for moved in row.moved[:SHOWN]]
    names += [f"{len(row.moved) - SHOWN} more"] if len(row.moved) > SHOWN else []
    trained = f"{number(row.speed)}, before {number(row.first_speed)}" if row.speed else MISSING
    return [versions, row.outcome, ", ".join(names) or "none", trained]
