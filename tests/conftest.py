"""Two studies as small as can be, put beside the others from outside; benchmarks; a browser."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import repro.studies
from repro.bench.rows import BenchmarkFile, Ceiling, Row, Times
from repro.datasets.spec import specs_folder

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
LONGEST = ("test_distributed.py", "test_registry.py", "test_command_line.py", "test_page.py")
TOYS = Path(__file__).parent / "toy_studies"
# Networks in tests take few steps: XLA compiles them up to six times faster without optimising.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")
# Tests run side by side: threads of BLAS would wait for each other most of the time.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def pytest_collection_modifyitems(items):
    """Put the files that take longest first, so that no process waits for another at the end."""
    order = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.name, len(LONGEST)))


@pytest.fixture(scope="module")
def toy_studies(tmp_path_factory) -> Iterator[tuple[str, ...]]:
    """Add the toys: their folders with their claims, and their data specs, nothing else."""
    names = tuple(sorted(path.stem for path in (TOYS / "data_specs").glob("*.yaml")))
    specs = shutil.copytree(specs_folder(), tmp_path_factory.mktemp("toys") / "data_specs")
    shutil.copytree(TOYS / "data_specs", specs, dirs_exist_ok=True)
    path = [*repro.studies.__path__, str(TOYS / "studies")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REPRO_DATA_SPECS", str(specs))
        patch.setattr(repro.studies, "__path__", path)
        yield names
    packages = tuple(f"repro.studies.{name}" for name in names)
    for module in [module for module in sys.modules if module.startswith(packages)]:
        del sys.modules[module]
    for name in names:
        vars(repro.studies).pop(name, None)


@pytest.fixture(scope="module")
def springs(toy_studies) -> str:
    """The study with one network."""
    return "springs"


@pytest.fixture(scope="module")
def decays(toy_studies) -> str:
    """The study whose second network reads the answers of the first."""
    return "decays"


@pytest.fixture(scope="module")
def browser():
    """A headless browser; tests that need one are skipped, with the reason, where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    executable = next(filter(None, map(shutil.which, BROWSERS)), None)
    if executable is None:
        pytest.skip(f"no browser on this machine: none of {', '.join(BROWSERS)}")
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=executable, args=ARGUMENTS)
        yield running
        running.close()


def times(median=0.1, spread=0.05, steps=20):
    return Times(
        median=median,
        low=median * (1 - spread),
        high=median * (1 + spread),
        p95=median * (1 + 2 * spread),
        steps=steps,
    )


@pytest.fixture(scope="session")
def bench_row():
    """Return a function that makes a row; what is given replaces what is usual."""

    def make(seconds=0.1, **changes):
        facts = {
            "study": "mamba",
            "variant": "faithful",
            "preset": "paper",
            "network": "real",
            "stands_for": ["real", "imag"],
            "phase": "train",
            "precision": "float32",
            "backend": "tensorflow",
            "way": "one_by_one",
            "batch": 32,
            "definition": "abc",
            "parameters": 100,
            "flops": 10**9,
            "seconds": times(seconds),
            "samples_per_second": 32 / seconds,
            "first_seconds": 2.0,
            "ready_seconds": times(seconds * 0.9),
            "waiting": 0.1,
            "flops_per_second": 3 * 32e9 / seconds,
            "matmul": Ceiling(name="FP32", rate=2e12, share=0.48, variation=0.01),
            "memory": Ceiling(name="memory", rate=2e10, share=0.2, variation=0.02),
            "peak_gb": 1.5,
        }
        return Row(**facts | changes)

    return make


@pytest.fixture(scope="session")
def bench_file():
    """Return a function that makes a file of rows."""

    def make(*rows, **changes):
        machine = {
            "python": "3.11.7",
            "packages": {"keras": "3.15.1"},
            "processor": "Test processor",
            "cores": 2,
            "memory_gb": 8.0,
            "gpu": None,
            "backend": "tensorflow",
            "threads": 2,
        }
        facts = {
            "machine": machine | changes.pop("machine", {}),
            "code": "c0de",
            "date": "2026-01-02",
            "command": "repro bench",
        }
        return BenchmarkFile(rows=list(rows), **facts | changes)

    return make
