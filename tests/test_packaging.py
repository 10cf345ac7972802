"""What is installed, and whether the files around the package tell the truth about it."""

from __future__ import annotations

import configparser
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions, requires, version
from importlib.util import find_spec
from pathlib import Path
from zipfile import ZipFile

import pytest
import yaml

import repro
from repro.study import studies

ROOT = Path(__file__).resolve().parents[1]
SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg", encoding="utf-8")
PINS = dict(
    line.split("==") for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
)


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def requirements(text: str) -> list[str]:
    return [normal(re.split(r"[\s<>=\[;]", r)[0]) for r in text.splitlines() if r.strip()]


EXTRAS = ("cpu", "fft", "test", "oracle", "croissant")  # what `make setup` installs
INSTALLED = {
    name
    for text in (
        SETUP["options"]["install_requires"],
        *(SETUP["options.extras_require"][extra] for extra in EXTRAS),
    )
    for name in requirements(text)
}


def test_every_dependency_is_pinned():
    assert {normal(name) for name in INSTALLED} <= {normal(name) for name in PINS}


def test_constraints_hold_names_and_versions_only():
    for name, pinned in PINS.items():
        assert re.fullmatch(r"[A-Za-z0-9._-]+", name), name
        assert re.fullmatch(r"[A-Za-z0-9.+!]+", pinned), pinned


@pytest.mark.parametrize("name", ["keras", "numpy", "tensorflow-cpu", "h5py", "jax"])
def test_the_tests_run_on_the_pinned_versions(name):
    assert version(name) == PINS[name], "run `make setup` again"


def test_tensorflow_is_no_dependency_of_the_package_itself():
    names = requirements(SETUP["options"]["install_requires"])
    assert not [name for name in names if name.startswith(("tensorflow", "jax", "horovod"))]


def test_every_field_of_setup_cfg_is_passed_on_by_pyproject():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    dynamic = set(project["dynamic"])
    assert {"version", "dependencies", "optional-dependencies", "scripts", "readme"} <= dynamic
    assert project["requires-python"] == SETUP["options"]["python_requires"]
    assert not set(project) & dynamic, "a field that stands twice will drift"


def test_the_packages_own_data_files_are_in_the_package():
    patterns = SETUP["options.package_data"]["repro"].split()
    package = Path(repro.__file__).parent
    for pattern in patterns:
        assert list(package.glob(pattern)), pattern
    loose = [
        path.relative_to(package).as_posix()
        for path in package.rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    ]
    kept = {path.relative_to(package).as_posix() for p in patterns for path in package.glob(p)}
    assert set(loose) <= kept, "a file that setup.cfg does not name is missing from a wheel"


def test_the_installed_metadata_are_those_of_setup_cfg():
    if "repro" not in packages_distributions():
        pytest.skip("repro is imported from the checkout and not installed")
    assert version("repro") == repro.__version__
    core = {normal(re.split(r"[<>=;\s]", text)[0]) for text in requires("repro")}
    assert set(requirements(SETUP["options"]["install_requires"])) <= core


def test_the_console_script_points_at_a_function():
    script = SETUP["options.entry_points"]["console_scripts"].strip()
    module, function = script.partition("=")[2].strip().split(":")
    assert callable(getattr(__import__(module, fromlist=[function]), function))


def test_the_gpl_libraries_are_never_imported_by_the_package():
    sources = "\n".join(
        path.read_text(encoding="utf-8") for path in Path(repro.__file__).parent.rglob("*.py")
    )
    for name in ("abtem", "py4DSTEM", "hyperspy", "rsciio"):
        assert not re.search(rf"^\s*(import|from) {name}\b", sources, re.MULTILINE), name


def test_every_file_that_the_readme_names_is_there():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    named = re.findall(r"(?:`|\]\()((?:repro|data_specs|docs|results|tests)/[\w./-]*)[`)]", text)
    made = [name for name in named if name.startswith("results/latest/")]  # by `make reproduce`
    assert len(named) > 10
    assert [name for name in named if name not in made and not (ROOT / name).exists()] == []


def test_the_licence_is_the_one_that_setup_cfg_names():
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert SETUP["metadata"]["license"] == "Apache-2.0"


def test_the_citation_names_the_version_and_the_paper_of_every_study():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == repro.__version__
    assert citation["license"] == SETUP["metadata"]["license"]
    by_title = {reference["title"].lower(): reference for reference in citation["references"]}
    for name, study in studies().items():
        reference = by_title.get(study.claims.paper.title.lower())
        assert reference, f"CITATION.cff lacks the paper of {name}"
        assert reference["notes"].startswith(f"study {name}")
        assert reference["year"] == study.claims.paper.year


def test_horovod_is_optional():
    assert "horovod" in SETUP["options.extras_require"]
    assert find_spec("repro") is not None


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of this checkout, built from a copy."""
    folder = tmp_path_factory.mktemp("wheel")
    names = ("setup.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")
    for name in names:
        shutil.copy(ROOT / name, folder)
    unwanted = shutil.ignore_patterns("__pycache__", "latest", ".lock")
    for name in ("repro", "data_specs", "results"):
        shutil.copytree(ROOT / name, folder / name, ignore=unwanted)
    call = "from setuptools.build_meta import build_wheel; print(build_wheel('dist'))"
    subprocess.run([sys.executable, "-c", call], cwd=folder, check=True, capture_output=True)
    (path,) = (folder / "dist").glob("*.whl")
    return path


@pytest.mark.slow
def test_the_wheel_holds_every_data_spec_and_record(wheel):
    with ZipFile(wheel) as archive:
        names = set(archive.namelist())
    for path in (*ROOT.glob("data_specs/*.yaml"), ROOT / "repro" / "py.typed"):
        assert path.relative_to(ROOT).as_posix() in names
    for path in ROOT.glob("results/records/*/record.json"):
        assert f"repro/{path.relative_to(ROOT).as_posix()}" in names


@pytest.mark.slow
def test_the_wheel_works_in_a_fresh_environment_and_another_folder(wheel, tmp_path):
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    if uv is None:
        pytest.skip("uv is not installed")
    bare = {k: v for k, v in os.environ.items() if not k.startswith(("REPRO_", "PYTHON"))}

    def done(*command):
        result = subprocess.run(
            [str(part) for part in command], cwd=tmp_path, env=bare, capture_output=True, text=True
        )
        assert result.returncode == 0, result.stderr[-2000:]
        return result.stdout

    done(uv, "venv", "--quiet", "--python", sys.executable, "fresh")
    python, repro_command = tmp_path / "fresh/bin/python", tmp_path / "fresh/bin/repro"
    pins = ROOT / "constraints.txt"
    done(uv, "pip", "install", "--quiet", "--python", python, "-c", pins, f"{wheel}[cpu]")
    listed = done(repro_command, "list")
    for name in studies():
        assert name in listed
    judged = json.loads(done(repro_command, "claims", "--json"))
    assert {row["status"] for row in judged} != {"not run"}
    out = tmp_path / "run"
    done(repro_command, "run", "rheed_translator", "--variant", "improved", "--out", out, "--quiet")
    assert (out / "record.json").is_file()
    assert done(repro_command, "--version").split() == ["repro", repro.__version__]
