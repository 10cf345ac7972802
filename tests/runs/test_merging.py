"""Seeds trained in different places give the record of one run, or are refused by what differs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
from typer.testing import CliRunner

from repro import cli
from repro.errors import ReproError
from repro.evaluation.records import read_record, write_record
from repro.files import sha256
from repro.runs import whole
from repro.runs.choices import Choices
from repro.runs.merging import merge
from repro.runs.merging_records import merge_records

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("REPRO_TEST_KILLS", "3"))


@pytest.fixture(scope="module")
def places(springs, tmp_path_factory):
    """A run of two seeds, and each of them trained alone from a data set of its own."""
    folder = tmp_path_factory.mktemp("places")
    choices = Choices(study=springs)
    whole.run(choices, [0, 1], folder / "both")
    for seed, name in enumerate(("here", "there")):
        whole.prepare_and_train(choices, [seed], folder / name)
    return folder


@pytest.fixture
def copies(places, tmp_path):
    """Copies of the two, to be played with."""
    return [shutil.copytree(places / name, tmp_path / name) for name in ("here", "there")]


def contents(folder):
    return {path: sha256(path) for path in folder.rglob("*") if path.is_file()}


def test_merged_seeds_give_the_record_of_one_run(places, tmp_path):
    before = contents(places)
    folders = [str(places / name) for name in ("there", "here")]
    ran = CliRunner().invoke(cli.app, ["merge", *folders, "--out", str(tmp_path / "run"), "-q"])
    assert ran.exit_code == 0, ran.stderr
    merged = read_record(tmp_path / "run" / "record.json")
    one = read_record(places / "both" / "record.json")
    assert merged.seeds == [0, 1]
    assert merged.metrics == one.metrics
    assert merged.hashes == one.hashes
    assert "--seeds 0,1" in merged.command
    assert contents(places) == before, "a source was changed"


def test_a_run_without_its_data_set_borrows_that_of_another(copies, tmp_path):
    (copies[0] / "data.h5").unlink()
    assert (merge(copies, tmp_path / "run") / "data.h5").exists()
    (copies[1] / "data.h5").unlink()
    with pytest.raises(ReproError, match="--data FILE"):
        merge(copies, tmp_path / "other")


def in_configuration(folder):
    edit(folder / "seed-1" / "run.json", lambda run: run["choices"].update(variant="improved"))


def in_data(folder):
    edit(folder / "seed-1" / "run.json", lambda run: run["data"].update(checksum="0"))


def in_code(folder):
    edit(folder / "seed-1" / "code.json", lambda code: code.update({"training/fit.py": "0"}))


def in_backend(folder):
    network = folder / "seed-1" / "networks" / "stiffness"
    edit(network / "configuration.json", lambda settings: settings.update(backend="jax"))


def edit(file, change):
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("differ", "what"),
    [
        (in_configuration, "there.*choices.variant"),
        (in_data, "there.*data.checksum"),
        (in_code, "there.*fit.py"),
        (in_backend, "seed 1 under jax"),
    ],
)
def test_runs_that_differ_are_refused_by_name_of_what_differs(copies, tmp_path, differ, what):
    differ(copies[1])
    with pytest.raises(ReproError, match=what):
        merge(copies, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_seed_twice_or_untrained_and_a_folder_that_is_taken_are_refused(copies, tmp_path):
    with pytest.raises(ReproError, match=r"Seed 0 is in .*here and in .*here"):
        merge([copies[0], copies[0]], tmp_path / "run")
    with pytest.raises(ReproError, match="there already"):
        merge(copies, copies[0])
    (copies[1] / "seed-1" / "networks" / "stiffness" / "done.json").unlink()
    with pytest.raises(ReproError, match="stiffness holds no finished training"):
        merge(copies, tmp_path / "run")


def test_a_run_of_unknown_code_is_judged_by_its_record(copies, places, tmp_path):
    (copies[1] / "seed-1" / "code.json").unlink()
    with pytest.raises(ReproError, match="which code trained it"):
        merge(copies, tmp_path / "run")
    shutil.copy(places / "both" / "record.json", copies[1])
    merge(copies, tmp_path / "run")
    record = read_record(copies[1] / "record.json")
    hashes = record.hashes.model_copy(update={"code": "0"})
    write_record(record.model_copy(update={"hashes": hashes}), copies[1] / "record.json")
    with pytest.raises(ReproError, match="other code"):
        merge(copies, tmp_path / "another")


def test_a_copied_folder_of_other_code_is_not_trained_on(copies, springs):
    in_code(copies[1])
    train = ["train", springs, "--seed", "1", "--out", str(copies[1]), "--quiet"]
    ran = CliRunner().invoke(cli.app, train)
    assert ran.exit_code == 0, "what is trained already needs no code"
    (copies[1] / "seed-1" / "networks" / "stiffness" / "done.json").unlink()
    before = contents(copies[1])
    ran = CliRunner().invoke(cli.app, train)
    assert ran.exit_code == 2
    assert "other code than this (training/fit.py)" in ran.stderr
    assert contents(copies[1]) == before


# ---- records alone


@pytest.fixture
def records(places, tmp_path):
    """Folders with what is kept of each seed's run: its record and figures."""
    folders = []
    for seed, name in enumerate(("here", "there")):
        evaluated = shutil.copytree(places / name, tmp_path / f"run-{seed}")
        CliRunner().invoke(cli.app, ["evaluate", str(evaluated), "-q"])
        folder = tmp_path / f"springs-seed-{seed}"
        folder.mkdir()
        shutil.copy(evaluated / "record.json", folder)
        shutil.copytree(evaluated / "figures", folder / "figures")
        folders.append(folder)
    return folders


def test_records_of_single_seeds_say_together_what_the_run_of_both_says(places, records, tmp_path):
    before = [contents(folder) for folder in records]
    command = ["merge", *map(str, reversed(records)), "--out", str(tmp_path / "both")]
    ran = CliRunner().invoke(cli.app, command)
    assert ran.exit_code == 0, ran.stderr
    merged = read_record(tmp_path / "both" / "record.json")
    one = read_record(places / "both" / "record.json")
    assert merged.seeds == [0, 1]
    assert {n: m.values for n, m in merged.metrics.items()} == {
        n: m.values for n, m in one.metrics.items()
    }
    for name, metric in merged.metrics.items():
        if metric.sampled is not None:
            expected = one.metrics[name].sampled.deviations
            assert metric.sampled.deviations == pytest.approx(expected, rel=1e-3, abs=1e-9)
    assert {task: set(seeds) for task, seeds in merged.curves.items()} == {
        task: set(seeds) for task, seeds in one.curves.items()
    }
    assert merged.hashes.code == one.hashes.code
    assert "--seeds 0,1 " in merged.command
    assert all("Of seed 0 alone." in figure.caption for figure in merged.figures.values())
    assert all((tmp_path / "both" / figure.file).exists() for figure in merged.figures.values())
    assert [contents(folder) for folder in records] == before, "a source was changed"


def test_a_seed_that_two_records_have_is_refused(records, tmp_path):
    with pytest.raises(ReproError, match="Seed 0 is in"):
        merge_records([records[0], records[0]], tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_records_of_different_code_are_refused_by_what_differs(records, tmp_path):
    path = records[1] / "record.json"
    record = read_record(path)
    other = record.hashes.model_copy(update={"code": "0" * 64})
    write_record(record.model_copy(update={"hashes": other}), path)
    with pytest.raises(ReproError, match="code"):
        merge_records(records, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_seed_of_another_machine_is_named(records, tmp_path):
    path = records[1] / "record.json"
    record = read_record(path)
    there = record.environment.model_copy(update={"gpu": "Elsewhere 9000"})
    write_record(record.model_copy(update={"environment": there}), path)
    merged = merge_records(records, tmp_path / "run")
    assert merged.deviations[-1] == "Seed 1 was trained on Elsewhere 9000."


def test_figures_stay_those_of_the_first_seed_however_often_records_are_merged(records, tmp_path):
    merge_records(records, tmp_path / "two")
    third = shutil.copytree(records[1], tmp_path / "third")
    record = read_record(third / "record.json")
    values = {n: m.model_copy(update={"values": {"2": 0.0}}) for n, m in record.metrics.items()}
    update = {"seeds": [2], "metrics": values, "curves": {key: {} for key in record.curves}}
    write_record(record.model_copy(update=update), third / "record.json")
    merged = merge_records([tmp_path / "two", third], tmp_path / "three")
    assert merged.seeds == [0, 1, 2]
    assert all(f.caption.endswith(" Of seed 0 alone.") for f in merged.figures.values())


MERGE_OFTEN = """
import shutil, sys
from pathlib import Path
from repro.runs.merging_records import merge_records
out, *folders = map(Path, sys.argv[1:])
print(flush=True)
while True:
    merge_records(folders, out)
    out.rename(out.with_name("last"))
    shutil.rmtree(out.with_name("last"))
"""


def test_a_merged_record_is_whole_or_not_there_whenever_the_merge_is_killed(records, tmp_path):
    out = tmp_path / "out" / "run"
    out.parent.mkdir()
    command = [sys.executable, "-c", MERGE_OFTEN, out, *records]
    for pause in np.random.default_rng(0).uniform(0.0, 0.2, KILLS):
        with subprocess.Popen(command, stdout=subprocess.PIPE) as merger:
            merger.stdout.readline()
            time.sleep(pause)
            merger.kill()
        shutil.rmtree(tmp_path / "out" / "last", ignore_errors=True)  # of this test's own
        if out.exists():
            figures = read_record(out / "record.json").figures.values()
            assert all((out / figure.file).is_file() for figure in figures)
            shutil.rmtree(out)
    merge_records(records, out)
    assert [path.name for path in out.parent.iterdir()] == ["run"], "what was left goes"
