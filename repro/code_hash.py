"""Hashes of source files: whether records, shards and processes come from the same code.

Nothing here needs git: code is hashed file by file, as it is installed.
"""

from __future__ import annotations

import ast
import hashlib
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec, resolve_name
from pathlib import Path, PurePosixPath

import repro
import repro.studies
from repro.errors import ReproError

PACKAGE = Path(repro.__file__).parent
# These build, show, use or time a result, stop and resume its work, carry it elsewhere or judge its
# record, and cannot alter it.
WITHOUT_EFFECT = (
    *("bench", "install", "released", "reporting", "cli.py", "__main__.py"),
    *("boundary.py", "display.py"),
    *("evaluation/claims.py", "evaluation/estimates.py", "evaluation/gates.py"),
    *("evaluation/outcomes.py", "evaluation/paper_runs.py", "evaluation/power.py"),
    *("evaluation/precision_pairs.py", "evaluation/protocol.py", "evaluation/regression.py"),
    *("runs/apply.py", "runs/baselines.py", "runs/released.py", "runs/reproduce.py"),
    *("runs/budget.py", "runs/merging.py", "runs/merging_records.py", "runs/parts.py"),
    "runs/queue.py",
    "training/deadline.py",
)
# Of a study: what uses a trained run or weights of the authors, and which no other file of the
# study imports.
FOR_USERS = ("page", "released", "apply.py")
# What a generator may import that cannot alter the arrays it returns.
INFRASTRUCTURE = (
    *("bench", "code_hash", "datasets", "errors", "evaluation", "files", "install"),
    *("released", "reporting", "runs", "study", "training"),
)


def hash_code(study: str, package: Path | None = None) -> str:
    """Return the hash of the code that a study's numbers depend on.

    Parameters
    ----------
    study : str
        The study's name.
    package : pathlib.Path, optional
        The folder of the package ``repro``, by default the one that is running.

    Raises
    ------
    ReproError
        If there is no such study.
    """
    return hash_files(code_files(study, package))


def code_files(study: str, package: Path | None = None) -> dict[str, Path]:
    """Return the Python files that can alter a study's numbers: shared ones and the study's own.

    They go by their names within the package. Shared code that builds, shows, uses or times
    results or judges their records does not count, and neither do a study's ``page``,
    ``released`` and ``apply.py``.

    Raises
    ------
    ReproError
        If there is no such study.
    """
    shared = {
        name: file
        for name, file in _python_files(package or PACKAGE).items()
        if not _is_in(name, WITHOUT_EFFECT) and not re.match("studies/.*/", name)
    }
    own = {
        f"studies/{study}/{name}": file
        for name, file in _python_files(_study_folder(study, package)).items()
        if not _is_in(name, FOR_USERS)
    }
    return shared | own


def hashed_code(study: str) -> dict[str, str]:
    """Return the hash of every file of `code_files`; `hash_files` makes that of all of them."""
    return {name: hash_file(file) for name, file in code_files(study).items()}


def hash_sources(module: str) -> str:
    """Return the hash of a generator's module and of all that it imports and that counts."""
    return hash_files(source_files(module))


def source_files(module: str) -> dict[str, Path]:
    """Return the files that what a module computes depends on, by the names of their modules.

    These are the module and, all the way down, what it imports of its own package and of
    ``repro``, without the infrastructure.
    """
    own = module.rpartition(".")[0]
    files: dict[str, Path] = {}
    waiting = [module]
    while waiting:
        spec = _find(waiting.pop())
        if spec is not None and spec.origin and spec.name not in files:
            files[spec.name] = Path(spec.origin)
            waiting += [name for name in _imported(spec, own) if _counts(name, own)]
    return files


def hash_files(files: Mapping[str, Path], hash_one: Callable[[Path], str] | None = None) -> str:
    """Return the hash of the names and contents of files.

    Parameters
    ----------
    files : mapping
        Files by name.
    hash_one : callable, optional
        Returns the hash of one file; by default `hash_file`.
    """
    hash_one = hash_one or hash_file
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(f"{name}\0{hash_one(files[name])}\0".encode())
    return digest.hexdigest()


def hash_file(file: Path) -> str:
    """Return the hash of a text file, whatever its line ends: a checkout may turn them to CRLF."""
    return hashlib.sha256(file.read_bytes().replace(b"\r\n", b"\n")).hexdigest()


def _is_in(name: str, parts: tuple[str, ...]) -> bool:
    return any(PurePosixPath(name).is_relative_to(part) for part in parts)


def _python_files(folder: Path) -> dict[str, Path]:
    return {file.relative_to(folder).as_posix(): file for file in folder.rglob("*.py")}


def _study_folder(study: str, package: Path | None) -> Path:
    # A study may stand outside the package, beside the others on their path.
    parents = [package / "studies"] if package else map(Path, repro.studies.__path__)
    for parent in parents:
        if (parent / study).is_dir():
            return parent / study
    raise ReproError(f"There is no study {study!r} whose code could be hashed.")


def _find(module: str) -> ModuleSpec | None:
    """Return where a module is, without importing it or the packages it is in."""
    top, *names = module.split(".")
    spec = find_spec(top)
    for name in names:
        if spec is None or spec.submodule_search_locations is None:
            return None
        package = sys.modules.get(spec.name)
        path = package.__path__ if package else spec.submodule_search_locations
        spec = PathFinder.find_spec(f"{spec.name}.{name}", path)
    return spec


def _counts(module: str, own: str) -> bool:
    if own and (module == own or module.startswith(f"{own}.")):
        return True
    package, _, within = module.partition(".")
    return package == "repro" and bool(within) and within.partition(".")[0] not in INFRASTRUCTURE


def _imported(spec: ModuleSpec, own: str) -> Iterator[str]:
    """Yield the modules that a source file imports, wherever it says so."""
    for node in ast.walk(ast.parse(Path(spec.origin).read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = resolve_name("." * node.level + (node.module or ""), spec.parent)
            for name in (f"{module}.{alias.name}" for alias in node.names):
                yield name if _counts(name, own) and _find(name) else module
