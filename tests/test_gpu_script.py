"""The script for a machine with a GPU and without network, on this processor under JAX."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from repro.evaluation.records import read_record
from repro.runs.parts import unpack

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
WITH_TOYS = """
import importlib.util, pathlib
import repro.studies
repro.studies.__path__.append({studies!r})
if importlib.util.find_spec("missing_there"):
    pathlib.Path("wheels_installed").touch()
"""
RUN = ("springs", "--set", "recipe.epochs=2", "--seed", "0", "--out", "runs/small")


@pytest.fixture(scope="module")
def machine(toy_studies, tmp_path_factory):
    """A folder to work in, a wheel that is missing there, and how to call the script."""
    folder = tmp_path_factory.mktemp("machine")
    toys = ROOT / "tests" / "toy_studies" / "studies"
    (folder / "sitecustomize.py").write_text(WITH_TOYS.format(studies=str(toys)))
    (folder / "wheels").mkdir()
    name = "missing_there-1.0"
    with zipfile.ZipFile(folder / "wheels" / f"{name}-py3-none-any.whl", "w") as wheel:
        wheel.writestr("missing_there.py", "")
        wheel.writestr(f"{name}.dist-info/METADATA", "Metadata-Version: 2.1\nName: missing-there\n"
                       "Version: 1.0\n")  # fmt: skip
        wheel.writestr(f"{name}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\n"
                       "Tag: py3-none-any\n")  # fmt: skip
        wheel.writestr(f"{name}.dist-info/RECORD", "")
    return folder


def call(machine, *arguments, **variables):
    """Run the script in the folder, with the package of this checkout."""
    python = machine / "python"
    if not python.exists():
        python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        python.chmod(0o755)
    environment = {
        **os.environ,
        "PYTHON": str(python),
        "PYTHONPATH": f"{ROOT}:{machine}",
        "JAX_PLATFORMS": "cpu",
        **variables,
    }
    command = ["bash", str(ROOT / "docs" / "cluster" / "gpu.sh"), *map(str, arguments)]
    return subprocess.run(command, cwd=machine, env=environment, capture_output=True, text=True)


def test_a_slice_leaves_parts_record_and_log_and_another_goes_on_from_them(machine):
    ran = call(machine, 200, "out", *RUN)
    assert ran.returncode == 0, ran.stderr
    out = machine / "out"
    left = sorted(path.name for path in out.iterdir())
    assert left == ["log.txt", "manifest.json", "record.json", "run.tar.000"]
    record = read_record(out / "record.json")
    assert record.environment.flags.backend == "jax"
    assert record.status == "ok"
    carried = unpack(out, machine / "elsewhere")
    assert (carried / "figures" / "found.svg").exists()
    state = {"STATE": "out", "WHEELS": "wheels"}
    again = call(machine, 200, "again", *RUN[:-1], "runs/there", **state)
    assert again.returncode == 0, again.stderr
    assert (machine / "wheels_installed").exists()
    curve = record.curves["stiffness"]["0"]
    assert read_record(machine / "again" / "record.json").curves["stiffness"]["0"] == curve, (
        "it was trained anew"
    )


def test_a_gpu_that_jax_does_not_see_is_told(machine):
    ran = call(machine, 200, "out_2", *RUN, JAX_PLATFORMS="")
    assert ran.returncode == 3
    assert "JAX sees no GPU" in ran.stderr
    assert not (machine / "out_2").exists()
