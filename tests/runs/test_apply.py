"""A trained run used on a user's own file: what is written, and what is refused before that."""

from __future__ import annotations

import csv
import shutil

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner

from repro import cli
from repro.errors import ReproError
from repro.runs.apply import apply, write_maps, write_table
from repro.runs.choices import Choices
from repro.runs.folder import RUN_FILE
from repro.runs.run import Run
from repro.runs.whole import prepare_and_train
from repro.study import Quantity

pytestmark = pytest.mark.slow

STIFFNESS = "stiffness [N/m]"
MAP = {"depth": Quantity(np.array([[1.0, 2.0], [3.0, 4.0]]), "Å", "Depth at each position.")}


@pytest.fixture(scope="module")
def trained(springs, tmp_path_factory):
    """The folder of a run of the smallest study, seeds 0 and 1."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    prepare_and_train(Choices(study=springs), [0, 1], folder)
    return folder


@pytest.fixture
def source(tmp_path):
    """Elongations of three springs under four loads [m]."""
    path = tmp_path / "springs.txt"
    np.savetxt(path, np.arange(1, 5) / np.array([[1.2], [1.5], [1.8]]))
    return path


def typed(*arguments):
    """Give a command as the shell would, without a new process."""
    return CliRunner().invoke(cli.app, ["apply", *map(str, arguments)])


def refused(*arguments):
    """Give a command that must fail; return the sentence that says why."""
    result = typed(*arguments)
    assert (result.exit_code, result.stdout) == (2, ""), result.exception
    (line,) = result.stderr.splitlines()
    return line


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_command_writes_a_table_with_units_and_a_picture(trained, source, tmp_path):
    out = tmp_path / "new" / "found.csv"
    result = typed(trained, "--data", source, "--out", out)
    picture = out.with_name("found_stiffness.svg")
    assert (result.exit_code, result.stdout) == (0, f"{out}\n{picture}\n"), result.exception
    assert "<svg" in picture.read_text(encoding="utf-8")
    rows = rows_of(out)
    columns = ["name", STIFFNESS, "stiffness low 90% [N/m]", "stiffness high 90% [N/m]"]
    assert list(rows[0]) == columns
    assert [row["name"] for row in rows] == ["spring 0", "spring 1", "spring 2"]
    for row in rows:
        value, low, high = (float(row[column]) for column in columns[1:])
        assert low < value < high


def test_maps_state_what_they_are_and_in_which_unit(trained, source, tmp_path):
    apply(trained, source, tmp_path / "found.h5")
    apply(trained, source, tmp_path / "table.csv")
    with h5py.File(tmp_path / "found.h5") as file:
        assert set(file) == {"name", "stiffness", "stiffness_low", "stiffness_high"}
        assert file["name"].asstr()[0] == "spring 0"
        for name in ("stiffness", "stiffness_low", "stiffness_high"):
            assert file[name].attrs["unit"] == "N/m"
            assert file[name].attrs["description"]
        table = [np.float32(row[STIFFNESS]) for row in rows_of(tmp_path / "table.csv")]
        np.testing.assert_array_equal(file["stiffness"][()], table)


def test_the_seed_that_answers_is_the_lowest_or_the_one_asked_for(trained, source, tmp_path):
    found = []
    for number, seed in enumerate((None, 0, 1)):
        apply(trained, source, tmp_path / f"{number}.csv", seed)
        found.append(rows_of(tmp_path / f"{number}.csv"))
    assert found[0] == found[1] != found[2]
    with pytest.raises(ReproError, match="no seed 7"):
        apply(trained, source, tmp_path / "7.csv", 7)


def test_a_value_that_is_not_known_is_an_empty_cell(tmp_path):
    values = np.array([0.1, np.nan], dtype=np.float32)
    write_table({"depth": Quantity(values, "Å", "Depth.")}, tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_text(encoding="utf-8").split() == ["depth", "[Å]", "0.1", '""']


@pytest.mark.parametrize("name", ['=HYPERLINK("x")', "+1", "-1", "@a", "\tx"])
def test_a_name_that_a_spreadsheet_would_run_gets_a_quote(tmp_path, name):
    values = {"file": np.array([name, "a.png"]), "depth": np.array([-1.5, 2.0])}
    write_table({n: Quantity(v, "", "Told.") for n, v in values.items()}, tmp_path / "a.csv")
    rows = rows_of(tmp_path / "a.csv")
    assert [row["file"] for row in rows] == [f"'{name}", "a.png"]
    assert [row["depth"] for row in rows] == ["-1.5", "2.0"], "a number is none"


def test_maps_go_into_hdf5_and_into_no_table(tmp_path):
    with pytest.raises(ReproError, match=r"\.h5"):
        write_table(MAP, tmp_path / "a.csv")
    assert not list(tmp_path.iterdir())
    write_maps(MAP, tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5") as file:
        np.testing.assert_array_equal(file["depth"], MAP["depth"].values)


@pytest.fixture
def no_run_is_opened(monkeypatch):
    """To open a run takes twenty seconds: what can be refused at once must be."""

    def fail(*arguments):
        raise AssertionError("the run was opened first")

    monkeypatch.setattr(Run, "open", fail)


@pytest.mark.usefixtures("no_run_is_opened")
def test_what_cannot_work_is_refused_before_the_run_is_opened(trained, source, tmp_path):
    out = tmp_path / "a.csv"
    assert "holds no run" in refused(tmp_path / "none", "--data", source, "--out", out)
    assert "none.txt" in refused(trained, "--data", tmp_path / "none.txt", "--out", out)
    assert ".csv or .h5" in refused(trained, "--data", source, "--out", tmp_path / "a.txt")
    assert not out.exists()


@pytest.mark.usefixtures("no_run_is_opened")
@pytest.mark.parametrize("name", ["found.csv", "found_stiffness.svg"])
def test_nothing_of_the_users_is_overwritten(trained, source, tmp_path, name):
    (tmp_path / name).write_text("mine", encoding="utf-8")
    assert name in refused(trained, "--data", source, "--out", tmp_path / "found.csv", "--quiet")
    assert (tmp_path / name).read_text(encoding="utf-8") == "mine"
    assert {path.name for path in tmp_path.iterdir()} == {source.name, name}


@pytest.mark.usefixtures("no_run_is_opened")
def test_a_study_that_takes_no_files_of_users_says_so(trained, decays, springs, source, tmp_path):
    folder = shutil.copytree(trained, tmp_path / "run")
    for path in folder.glob(f"*/{RUN_FILE}"):
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace(f'"{springs}"', f'"{decays}"'), encoding="utf-8")
    out = tmp_path / "a.csv"
    assert f"{decays} cannot do this" in refused(folder, "--data", source, "--out", out)
