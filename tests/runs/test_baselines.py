"""The baseline records: that they pass, and that all that is written from them agrees."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from repro.errors import GateFailed, ReproError
from repro.evaluation.provenance import hash_data, hash_environment, hash_metrics
from repro.evaluation.records import read_record, write_record
from repro.reporting.history import HISTORY_FILE, read_history
from repro.runs import baselines as results

ROOT = Path(__file__).parents[2]
RECORDS = ROOT / "results" / "records"
OTHER = "rheed_translator-improved-desk"
KILLS = int(os.environ.get("REPRO_TEST_KILLS", "3"))


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
    record = read_record(run / "record.json")
    failed = {"status": "failed", "reason": "The loss became nan."}
    write_record(record.model_copy(update=failed), run / "record.json")
    with pytest.raises(ReproError, match="no baseline"):
        results.accept([run], tmp_path / "results")
    assert not (tmp_path / "results").exists()


@pytest.fixture
def baselines(tmp_path):
    """A results folder with another run's record in it, which no `accept` may touch."""
    shutil.copytree(RECORDS / OTHER, tmp_path / "results" / "records" / "other")
    shutil.copy(ROOT / "README.md", tmp_path)
    return tmp_path / "results"


@pytest.mark.parametrize("typed", [".", "..", "../run", "./"])
def test_accept_files_a_folder_under_its_own_name_however_it_is_typed(
    baselines, tmp_path, monkeypatch, typed
):
    run = tmp_path / "run"
    shutil.copytree(RECORDS / "mamba-improved-desk", run)
    monkeypatch.chdir(run / "figures" if typed == ".." else run)
    assert results.accept([Path(typed)], baselines) == [baselines / "records" / "run"]
    assert content_of(baselines / "records" / "other") == content_of(RECORDS / OTHER)


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
    record = read_record(run / "record.json")
    metric = record.metrics["test_mae"].model_copy(update={"values": {"0": error}})
    changed = record.model_copy(update={"metrics": record.metrics | {"test_mae": metric}})
    write_record(changed, run / "record.json")
    return run


def test_accept_refuses_a_record_that_fails_a_gate_of_its_own(baselines, tmp_path):
    with pytest.raises(GateFailed, match="field_error") as error:
        results.accept([run_with_error(tmp_path, 0.2)], baselines)
    assert error.value.exit_status == 1
    assert [path.name for path in (baselines / "records").iterdir()] == ["other"]
    assert sorted(path.name for path in baselines.iterdir()) == ["records"]


def test_accept_refuses_what_is_worse_than_the_baseline_record_of_its_name(
    results_folder, tmp_path
):
    # No gate asks for this metric: a run that was far worse replaced the good one.
    shutil.copytree(RECORDS / "mamba-faithful-desk", tmp_path / "new" / "mamba-faithful-desk")
    path = tmp_path / "new" / "mamba-faithful-desk" / "record.json"
    record = read_record(path)
    worse = {
        name: metric.model_copy(update={"values": {s: 10 * v for s, v in metric.values.items()}})
        for name, metric in record.metrics.items()
        if metric.better == "lower"
    }
    write_record(record.model_copy(update={"metrics": record.metrics | worse}), path)
    before = content_of(results_folder)
    for reason in (None, "It is new."):
        with pytest.raises(GateFailed):
            results.accept([path.parent], results_folder, reason)
    good = tmp_path / "good" / "mamba-faithful-desk"
    shutil.copytree(RECORDS / "mamba-faithful-desk", good)
    two_per_cent = {
        name: metric.model_copy(
            update={
                "values": {
                    s: v * (1.02 if (metric.better == "lower") == (v > 0) else 0.98)
                    for s, v in metric.values.items()
                }
            }
        )
        for name, metric in record.metrics.items()
    }
    hashes = record.hashes.model_copy(update={"code": "another"})
    write_record(
        record.model_copy(update={"metrics": two_per_cent, "hashes": hashes}), good / "record.json"
    )
    with pytest.raises(GateFailed, match="worse than the baseline"):
        results.accept([good], results_folder, "No gate asks for any of it.")
    assert content_of(results_folder) == before


def test_a_reason_to_accept_a_record_all_the_same_stays_in_it(tmp_path):
    shutil.copy(ROOT / "README.md", tmp_path)
    run, target = run_with_error(tmp_path, 0.2), tmp_path / "results"
    with pytest.raises(ReproError, match="reason"):
        results.accept([run], target, reason=" ")
    with pytest.raises(GateFailed):
        results.accept([run], target, reason="Fewer films.")
    with pytest.raises(ReproError, match="reason"):
        results.accept([run], target, force=True)
    (accepted,) = results.accept([run], target, reason="Fewer films.", force=True)
    assert read_record(accepted / "record.json").accepted_because == "Fewer films."
    failing = [r.gate.id for r in results.check_baselines(target, study="mamba") if not r.holds]
    assert "field_error" in failing, "a reason mends no gate"


def test_the_ledger_says_what_was_accepted_and_why(results_folder, tmp_path):
    run = tmp_path / "new" / "mamba-faithful-desk"
    shutil.copytree(RECORDS / run.name, run)
    results.accept([run], results_folder, "The first.")
    first = (results_folder / HISTORY_FILE).read_text()
    results.accept([run], results_folder, "Once more.")
    assert (results_folder / HISTORY_FILE).read_text().startswith(first), "the past stays"
    entries = read_history(results_folder)
    assert [entry.reason for entry in entries] == ["The first.", "Once more."]
    record = read_record(RECORDS / run.name / "record.json")
    for entry in entries:
        assert (entry.name, entry.code, entry.preset) == (run.name, record.hashes.code, "desk")
        assert (entry.compared, entry.forced) == ("passed", False)
        assert entry.machine == record.environment.processor
        values = record.metrics["validation_mae/real"].values.values()
        assert entry.metrics["validation_mae/real"] == pytest.approx(np.mean(list(values)))
        assert entry.speed > 0
    (results_folder / HISTORY_FILE).write_text(first + "{\n")
    with pytest.raises(ReproError, match="line 2"):
        results.accept([run], results_folder, "On a damaged ledger.")


def test_the_ledger_ends_with_the_records_as_they_are(records):
    latest = {entry.name: entry for entry in read_history(ROOT / "results")}
    assert latest.keys() == records.keys()
    for name, entry in latest.items():
        assert entry.reason, name
        for metric, mean in entry.metrics.items():
            values = list(records[name].metrics[metric].values.values())
            assert mean == pytest.approx(np.mean(values), nan_ok=True), (name, metric)


def test_gates_of_other_records_do_not_stand_in_the_way(baselines, tmp_path):
    run = run_with_error(tmp_path, 0.1)
    assert results.accept([run], baselines) == [baselines / "records" / "mamba-improved-desk"]


@pytest.fixture
def results_folder(tmp_path):
    """A results folder of two records beside a README."""
    for name in ("mamba-improved-desk", "mamba-faithful-desk"):
        shutil.copytree(RECORDS / name, tmp_path / "results" / "records" / name)
    shutil.copy(ROOT / "README.md", tmp_path)
    results.renew(tmp_path / "results")
    return tmp_path / "results"


def content_of(folder):
    """Return every file below a folder, but for locks."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


def no_marker(root):
    readme = root / "README.md"
    readme.write_text(readme.read_text().replace("<!-- claims:end -->", ""))


def no_summary(root):
    (root / "results" / "summary.csv").unlink()
    (root / "results" / "summary.csv").mkdir()


def no_figure(root):
    next((root / "new" / "mamba-improved-desk" / "figures").iterdir()).unlink()


@pytest.mark.parametrize("fault", [no_marker, no_summary, no_figure])
def test_accept_changes_all_or_nothing(results_folder, tmp_path, fault):
    # It renamed the record first, and then found that the README could not be written.
    for name in ("mamba-improved-desk", "mamba-faithful-desk"):
        shutil.copytree(RECORDS / name, tmp_path / "new" / name)
    fault(tmp_path)
    before = content_of(tmp_path)
    runs = [tmp_path / "new" / name for name in ("mamba-faithful-desk", "mamba-improved-desk")]
    with pytest.raises((ReproError, OSError)):
        results.accept(runs, results_folder, reason="Seen to.")
    assert content_of(tmp_path) == before


ACCEPT = """
import sys
from pathlib import Path
from repro.runs import baselines
runs = [Path(path) for path in sys.argv[2:]]
print("ready", flush=True)
while True:
    for reason in ("One.", "Two."):
        baselines.accept(runs, Path(sys.argv[1]), reason, force=True)
"""


def test_accept_leaves_the_old_or_the_new_state_whenever_it_is_killed(results_folder, tmp_path):
    names = ["mamba-faithful-desk", "mamba-improved-desk"]
    for name in names:
        shutil.copytree(RECORDS / name, tmp_path / "new" / name)
    results.accept([*(tmp_path / "new").iterdir()], results_folder, "One.")
    command = [sys.executable, "-c", ACCEPT, results_folder, *(tmp_path / "new").iterdir()]
    pauses = np.random.default_rng(0).uniform(0.2, 1.5, KILLS)
    for pause in pauses:
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            process.stdout.readline()
            time.sleep(pause)
            process.kill()
        found = results.find_records([results_folder])
        assert [path.parent.name for path, _ in found] == names
        assert len({record.accepted_because for _, record in found}) == 1
        for path, record in found:
            assert all((path.parent / entry.file).is_file() for entry in record.figures.values())


def test_what_a_killed_accept_left_is_no_record(results_folder):
    # It lay beside the records, and every command that searched for records found it.
    left = results_folder / ".records.0123abcd.partial"
    shutil.copytree(results_folder / "records", left)
    assert len(results.find_records([results_folder])) == 2
    assert len(results.find_records([left])) == 2, "named, it is read"
