import re
import sys

import pytest

from repro.code_hash import code_files, hash_code, hash_sources, source_files
from repro.errors import ReproError
from repro.study import studies


@pytest.fixture
def package(tmp_path):
    """A package laid out as ours, with two studies and no git anywhere."""
    files = (
        "seeds.py",
        "cli.py",
        "training/fit.py",
        "reporting/report.py",
        "bench/flops.py",
        "install/wheel.py",
        "evaluation/gates.py",
        "evaluation/metrics.py",
        "runs/apply.py",
        "released/state_dict.py",
    )
    studies = (
        "studies/__init__.py",
        "studies/one/model.py",
        "studies/one/page/markup.py",
        "studies/one/apply.py",
        "studies/one/released/judging.py",
        "studies/two/model.py",
    )
    for name in (*files, *studies, "studies/one/claims.yaml"):
        path = tmp_path / "repro" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# {name}\n")
    return tmp_path / "repro"


def test_code_that_can_move_a_number_is_hashed_and_no_other(package):
    assert sorted(code_files("one", package)) == [
        "evaluation/metrics.py",
        "seeds.py",
        "studies/__init__.py",
        "studies/one/model.py",
        "training/fit.py",
    ]


@pytest.mark.parametrize(
    ("name", "matters"),
    [
        ("seeds.py", True),
        ("training/fit.py", True),
        ("studies/one/model.py", True),
        ("studies/two/model.py", False),
        ("reporting/report.py", False),
        ("install/wheel.py", False),
        ("evaluation/gates.py", False),
        ("evaluation/metrics.py", True),
        ("studies/one/page/markup.py", False),
        ("studies/one/apply.py", False),
        ("studies/one/released/judging.py", False),
        ("released/state_dict.py", False),
        ("runs/apply.py", False),
        ("cli.py", False),
        ("studies/one/claims.yaml", False),
    ],
)
def test_code_hash_follows_what_matters(package, name, matters):
    before = hash_code("one", package)
    (package / name).write_text("x = 1\n")
    assert (hash_code("one", package) != before) == matters


def test_code_hash_sees_a_file_that_is_renamed_or_added(package):
    before = hash_code("one", package)
    (package / "studies/one/model.py").rename(package / "studies/one/network.py")
    renamed = hash_code("one", package)
    (package / "studies/one/new.py").write_text("")
    assert len({before, renamed, hash_code("one", package)}) == 3


def test_code_hash_ignores_the_line_ends_of_the_checkout(package):
    before = hash_code("one", package)
    for file in package.rglob("*.py"):
        file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    assert hash_code("one", package) == before


def test_code_hash_of_an_unknown_study_is_refused(package):
    with pytest.raises(ReproError, match="no study 'three'"):
        hash_code("three", package)


def test_code_of_this_package_can_be_hashed():
    assert hash_code("mamba") == hash_code("mamba")


@pytest.mark.parametrize("study", studies())
def test_no_file_that_is_hashed_imports_one_of_its_study_that_is_not(study):
    # Else what alters a number could change, and the hash would stay.
    for_users = re.compile(
        rf"(import|from) repro\.studies\.{study}(\.| import )(page|released|apply)\b"
    )
    for name, file in code_files(study).items():
        assert not for_users.search(file.read_text(encoding="utf-8")), name


def test_a_study_beside_the_package_is_hashed_with_the_shared_code(package, monkeypatch):
    monkeypatch.setattr("repro.studies.__path__", [str(package / "studies")])
    before = hash_code("one")
    (package / "studies/one/model.py").write_text("x = 1\n")
    assert hash_code("one") != before
    assert "seeds.py" in code_files("one")


@pytest.fixture
def optics(tmp_path, monkeypatch):
    """The sources of a generator with a package of its own."""
    package = tmp_path / "optics"
    package.mkdir()
    for name, text in {
        "__init__": "",
        "generator": "from optics import waves\nfrom optics.lens import focus\n"
        "from . import mirror\nfrom repro.seeds import generator\nimport repro.errors\n"
        "from repro.datasets.store import Dataset\nimport keras_that_is_not_there\n",
        "waves": "speed = 1\n",
        "lens": "from optics.glass import index\nfocus = index\n",
        "mirror": "import optics.silver\n",
        "silver": "",
        "glass": "index = 1.5\n",
        "report": "text = 1\n",
    }.items():
        (package / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    return package


def test_the_sources_of_a_generator_are_its_own_and_shared_physics_without_infrastructure(optics):
    own = {f"optics.{name}" for name in ("generator", "waves", "lens", "glass", "mirror", "silver")}
    assert source_files("optics.generator").keys() == own | {"repro.seeds"}
    assert "optics" not in sys.modules, "to hash code is not to run it"


def test_a_change_of_what_a_generator_imports_counts_and_no_other(optics):
    before = hash_sources("optics.generator")
    (optics / "report.py").write_text("text = 2\n")
    assert hash_sources("optics.generator") == before, "what is not used is free to change"
    for name in ("waves", "glass"):
        (optics / f"{name}.py").write_text("speed = index = 2\n")
        assert hash_sources("optics.generator") != before, f"{name} changed unnoticed"
        before = hash_sources("optics.generator")


def test_physics_that_studies_share_counts_for_the_generator_that_imports_it():
    files = source_files("repro.studies.interface_dcnn.simulate")
    assert "repro.seeds" in files
    assert "repro.studies.interface_dcnn.potential" in files
    assert not any(name.startswith(("repro.datasets", "repro.errors")) for name in files)
