"""The baseline records: that they pass, and that all that is written from them agrees."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from repro.errors import GateFailed, ReproError
from repro.evaluation.provenance import hash_data, hash_environment, hash_metrics
from repro.evaluation.records import read_record
from repro.runs import baselines as results

ROOT = Path(__file__).parents[2]
RECORDS = ROOT / "results" / "records"


@pytest.fixture(scope="module")
def records():
    """Every baseline record by name."""
    return {path.parent.name: read_record(path) for path in RECORDS.glob("*/record.json")}


def test_every_gate_holds_and_says_why_it_is_there():
    checked = results.check_baselines(ROOT / "results")
    assert {result.study for result in checked} >= {"mamba", "interface_dcnn", "rheed_translator"}
    failing = [f"{result.gate.id}: {result.said}" for result in checked if not result.holds]
    assert not failing, "\n".join(failing)
    for gate in (result.gate for result in checked):
        assert gate.statement.endswith("."), gate.id
        assert gate.reason.endswith("."), gate.id


def test_no_record_was_edited_since_it_was_made(records):
    # Whoever alters what a record says of its metrics, data or machine must alter its hash too.
    for name, record in records.items():
        assert hash_metrics(record.metrics) == record.hashes.metrics, name
        assert hash_data(record.data) == record.hashes.data, name
        assert hash_environment(record.environment) == record.hashes.environment, name


def test_the_faithful_network_still_learns_when_it_ends_at_desk(records):
    # Its errors are far from the published ones only because the run is short.
    for task, seeds in records["mamba-faithful-desk"].curves.items():
        losses = seeds["0"]["val_loss"]
        assert losses == sorted(losses, reverse=True), task


def test_readme_and_summary_are_what_the_records_say(tmp_path):
    # A number edited by hand, or a record changed without the table, would no longer be a result.
    shutil.copytree(ROOT / "results" / "records", tmp_path / "results" / "records")
    shutil.copy(ROOT / "README.md", tmp_path)
    results.renew(tmp_path / "results")
    assert (tmp_path / "README.md").read_text() == (ROOT / "README.md").read_text()
    summary = Path("results") / "summary.csv"
    assert (tmp_path / summary).read_text() == (ROOT / summary).read_text()


READMES = {path.parent.name: path for path in (ROOT / "repro" / "studies").glob("*/README.md")}
READMES["cluster"] = ROOT / "docs" / "cluster" / "README.md"
READMES["suite"] = ROOT / "README.md"


@pytest.mark.parametrize("place", sorted(READMES))
def test_every_number_of_a_readme_is_in_a_record_or_the_benchmarks(place):
    # Rows of the form | words | `RECORD` `METRIC` | number |; a benchmark is named by its test.
    rows = re.findall(
        r"^\|.*\| `([^`]+)` `([^`]+)` \| ([-\d.e]+) \|$", READMES[place].read_text(), re.MULTILINE
    )
    assert rows, f"{place} shows no figure"
    for name, metric, shown in rows:
        digits = len(shown.partition(".")[2])
        assert round(figure(name, metric), digits) == float(shown), f"{name} {metric}"


def figure(name, metric):
    """Return a record's mean over seeds, or a benchmark's figure.

    A benchmark is named by its test, if it is of another machine than most as ``MACHINE/TEST``.
    """
    machine, _, benchmark = name.rpartition("/")
    if benchmark.startswith("test_"):
        file = ROOT / "results" / "benchmarks" / "ratios" / f"{machine or 'xeon'}.json"
        return json.loads(file.read_text())["benchmarks"][benchmark][metric]
    return np.mean([*read_record(RECORDS / name / "record.json").metrics[metric].values.values()])


def test_records_hold_no_path_and_no_host():
    for path in RECORDS.glob("*/record.json"):
        text = path.read_text()
        assert not re.search(r'"/\w+/|[^\w]/(?:home|root|tmp|work)/', text), path.parent.name


def test_accept_copies_record_and_figures_and_renews(tmp_path):
    shutil.copytree(RECORDS / "mamba-improved-desk", tmp_path / "run")
    shutil.copy(ROOT / "README.md", tmp_path)
    (accepted,) = results.accept([tmp_path / "run"], tmp_path / "results")
    assert accepted == tmp_path / "results" / "records" / "run"
    assert (accepted / "figures" / "density.svg").is_file()
    assert "mamba,improved,desk" in (tmp_path / "results" / "summary.csv").read_text()


def test_accept_refuses_a_failed_run_and_keeps_what_was(tmp_path):
    run = tmp_path / "run"
    shutil.copytree(RECORDS / "mamba-improved-desk", run)
    record = json.loads((run / "record.json").read_text())
    record |= {"status": "failed", "reason": "The loss became nan."}
    (run / "record.json").write_text(json.dumps(record))
    with pytest.raises(ReproError, match="no baseline"):
        results.accept([run], tmp_path / "results")
    assert not (tmp_path / "results").exists()


@pytest.fixture
def baselines(tmp_path):
    """A results folder with another run's record in it, which no `accept` may touch."""
    other = tmp_path / "results" / "records" / "other"
    other.mkdir(parents=True)
    (other / "record.json").write_text("precious")
    shutil.copy(ROOT / "README.md", tmp_path)
    return tmp_path / "results"


@pytest.mark.parametrize("typed", [".", "..", "../run", "./"])
def test_accept_files_a_folder_under_its_own_name_however_it_is_typed(
    baselines, tmp_path, monkeypatch, typed
):
    run = tmp_path / "run"
    shutil.copytree(RECORDS / "mamba-improved-desk", run)
    monkeypatch.chdir(run / "figures" if typed == ".." else run)
    monkeypatch.setattr(results, "renew", lambda folder: None)  # the other record is no record
    assert results.accept([Path(typed)], baselines) == [baselines / "records" / "run"]
    assert (baselines / "records" / "other" / "record.json").read_text() == "precious"


def test_accept_refuses_what_it_cannot_file_and_changes_nothing(baselines, tmp_path):
    for place in ("a/run", "b/run"):
        shutil.copytree(RECORDS / "mamba-improved-desk", tmp_path / place)
    with pytest.raises(ReproError, match="same name"):
        results.accept([tmp_path / "a/run", tmp_path / "b/run"], baselines)
    shutil.rmtree(tmp_path / "a/run/figures")
    with pytest.raises(ReproError, match="no figures"):
        results.accept([tmp_path / "a/run"], baselines)
    assert [path.name for path in (baselines / "records").iterdir()] == ["other"]


def run_with_error(tmp_path, error):
    """Return a run's folder as it is, but for its error on test films."""
    run = tmp_path / "mamba-improved-desk"
    shutil.copytree(RECORDS / "mamba-improved-desk", run)
    record = json.loads((run / "record.json").read_text())
    record["metrics"]["test_mae"]["values"] = {"0": error}
    (run / "record.json").write_text(json.dumps(record))
    return run


def test_accept_refuses_a_record_that_fails_a_gate_of_its_own(baselines, tmp_path):
    with pytest.raises(GateFailed, match="field_error") as error:
        results.accept([run_with_error(tmp_path, 0.2)], baselines)
    assert error.value.exit_status == 1
    assert [path.name for path in (baselines / "records").iterdir()] == ["other"]
    assert sorted(path.name for path in baselines.iterdir()) == ["records"]


def test_a_reason_to_accept_a_record_all_the_same_stays_in_it(tmp_path):
    shutil.copy(ROOT / "README.md", tmp_path)
    run, target = run_with_error(tmp_path, 0.2), tmp_path / "results"
    with pytest.raises(ReproError, match="reason"):
        results.accept([run], target, reason=" ")
    (accepted,) = results.accept([run], target, reason="Fewer films.")
    assert read_record(accepted / "record.json").accepted_because == "Fewer films."
    failing = [r.gate.id for r in results.check_baselines(target, study="mamba") if not r.holds]
    assert "field_error" in failing, "a reason mends no gate"


def test_gates_of_other_records_do_not_stand_in_the_way(baselines, tmp_path, monkeypatch):
    monkeypatch.setattr(results, "renew", lambda folder: None)  # the other record is no record
    run = run_with_error(tmp_path, 0.1)
    assert results.accept([run], baselines) == [baselines / "records" / "mamba-improved-desk"]
