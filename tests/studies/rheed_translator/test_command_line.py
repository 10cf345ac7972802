"""From an archive of films to a record, and to the record of other films, as a grower types it."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from repro import cli

pytestmark = pytest.mark.slow
SMOKE = ["rheed_translator", "--variant", "improved", "--preset", "smoke"]


def called(*arguments):
    """Run a command as the shell would, without a new process."""
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


def recorded(*arguments):
    """Run a command that must succeed; return the record that it prints."""
    ran = called(*arguments, "--json", "--quiet")
    assert ran.exit_code == 0, ran.stderr or ran.exception
    return json.loads(ran.stdout)


def refused(*arguments):
    """Run a command that the user gets wrong; return the one line that says why."""
    ran = called(*arguments, "--quiet")
    assert (ran.exit_code, ran.stdout) == (2, ""), ran.stderr
    assert "Traceback" not in ran.stderr
    (line,) = [text for text in ran.stderr.splitlines() if text.startswith("error: ")]
    assert ran.stderr.rstrip().endswith(line), "what came after hides it"
    return line


def stored(folder):
    """Return every file of a folder by its name, as bytes."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def comparable(record):
    """Return a record without the time that its evaluation took."""
    timings = {name: t for name, t in record["timings"].items() if name != "evaluate"}
    return {**record, "timings": timings}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("runs") / "sto"


@pytest.fixture(scope="module")
def first(folder, archives):
    """The record of a run on twelve films."""
    words = ["run", *SMOKE, "--data", archives["grown"], "--out", folder, "--json", "--quiet"]
    ran = subprocess.run(
        [sys.executable, "-m", "repro", *map(str, words)], capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


@pytest.fixture(scope="module")
def before(folder, first):
    """What the run wrote."""
    return stored(folder)


@pytest.fixture(scope="module")
def second(folder, before, archives):
    """The record of the same networks on eight films; they have learnt from two of these."""
    return recorded("evaluate", folder, "--data", archives["later"])


def test_a_run_on_an_archive_says_what_it_was_made_of_and_with(first):
    assert first["status"] == "ok"
    assert first["data"]["name"] == "rheed_sto"
    assert first["data"]["counts"] == {"train": 12, "validation": 0, "test": 0}
    assert first["networks"] == {}, "a closed form is not trained"
    assert "held_out/mae" in first["metrics"]
    assert not any(name.startswith("test/") for name in first["metrics"])
    assert first["metrics"]["train/mae"]["values"]["0"] < 15
    assert "--data grown.npz --out sto" in first["command"]


def test_other_films_are_the_test_films_of_a_record_of_their_own(folder, second):
    assert second["data"]["counts"] == {"train": 12, "validation": 0, "test": 6}
    for name in ("test/mae", "test/r2", "test/coverage", "test/one_ratio/mae"):
        assert name in second["metrics"], name
    there = json.loads((folder / "on-later" / "record.json").read_text(encoding="utf-8"))
    assert there.pop("seal")
    assert there == second
    for file in ("seed-0/evaluation.npz", *(f["file"] for f in second["figures"].values())):
        assert (folder / "on-later" / file).is_file(), file


def test_what_is_said_of_the_training_films_does_not_depend_on_the_others(first, second):
    again = {name: second["metrics"][name] for name in first["metrics"]}
    assert again == first["metrics"]


def test_the_record_of_the_run_is_left_alone(folder, before, second):
    after = stored(folder)
    assert {name: after[name] for name in before} == before
    assert not [name for name in after.keys() - before.keys() if not name.startswith("on-later/")]


def test_commands_name_files_and_no_folders(folder, first, second, archives):
    assert second["command"] == "repro evaluate sto --data later.npz"
    for record in (first, second):
        text = json.dumps(record)
        assert str(folder.parent) not in text
        assert str(archives["grown"].parent) not in text


def test_evaluating_the_run_again_gives_the_same_record(folder, first, second):
    again = recorded("evaluate", folder)
    assert re.search(r" --data \S+\.npz ", again.pop("command")), "it would make synthetic films"
    assert comparable(again) == comparable({n: v for n, v in first.items() if n != "command"})


def test_the_command_of_the_record_goes_on_with_the_run(folder, before, first, archives):
    words = first["command"].removeprefix("repro run ").split()
    words[words.index("grown.npz")] = archives["grown"]
    words[words.index("sto")] = folder
    ran = called("train", *words, "--quiet")
    assert (ran.exit_code, ran.stdout) == (0, f"{folder}\n"), ran.stderr
    weights = [name for name in before if name.endswith(".weights.h5")]
    after = stored(folder)
    assert {name: after[name] for name in weights} == {name: before[name] for name in weights}


def test_records_of_both_can_be_judged_together(folder, second):
    ran = called("claims", "--records", folder, "--json")
    assert ran.exit_code == 0, ran.stderr
    assert any(row["study"] == "rheed_translator" for row in json.loads(ran.stdout))


def test_a_wrong_archive_is_told_of_in_a_line_and_leaves_the_run_alone(
    folder, first, archives, tmp_path
):
    there, damaged = stored(folder), tmp_path / "damaged.npz"
    damaged.write_bytes(archives["later"].read_bytes()[:-500])
    assert "damaged.npz is damaged" in refused("evaluate", folder, "--data", damaged)
    other = ["--data", archives["later"], "--out", folder]
    assert "another archive" in refused("run", *SMOKE, *other)
    assert stored(folder) == there


def test_nothing_is_made_of_a_damaged_archive(archives, tmp_path):
    damaged = tmp_path / "damaged.npz"
    damaged.write_bytes(archives["grown"].read_bytes()[:-500])
    out = tmp_path / "run"
    assert "damaged.npz is damaged" in refused("run", *SMOKE, "--data", damaged, "--out", out)
    assert not out.exists()


def test_an_experiment_of_simulated_films_is_not_run_on_real_ones(archives, tmp_path):
    options = ["--experiment", "half_order", "--data", archives["grown"]]
    assert "half_order" in refused("run", *SMOKE, *options, "--out", tmp_path / "run")
