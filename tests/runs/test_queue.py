"""The runs that are still wanted: what is asked for, in which order, and how long it takes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from repro import cli
from repro.errors import ReproError
from repro.evaluation.paper_runs import PaperStage, load_paper_runs
from repro.evaluation.records import read_record, write_record
from repro.reporting.queue import queue_markdown
from repro.runs import baselines
from repro.study import get_study

ROOT = Path(__file__).parents[2]
RATES = {"made": 16.0, "toys": {"step": 0.5}}


@pytest.fixture
def results(tmp_path):
    """A folder of results with rates and no records."""
    folder = tmp_path / "results"
    folder.mkdir()
    (folder / "rates.json").write_text(json.dumps(RATES))
    return folder


@pytest.fixture
def record():
    """A record, whose labels are changed to those of the run that is wanted."""
    found = read_record(ROOT / "results" / "records" / "mamba-faithful-desk" / "record.json")
    return found.model_copy(
        update={"study": "springs", "preset": "paper", "experiment": "few_loads"}
    )


def keep(record, results, name="springs-paper"):
    path = results / "records" / name / "record.json"
    path.parent.mkdir(parents=True)
    write_record(record, path)


def of_springs(results, **keywords):
    return baselines.wanted(results, study="springs", **keywords)


def test_a_study_says_in_its_folder_what_it_wants_and_rates_say_how_long_it_takes(springs, results):
    (run,) = of_springs(results)
    assert [stage.seconds for stage in run.stages] == [20.0, 1500.0, 60.0]
    assert [stage.measured for stage in run.stages] == ["rates/made", "rates/toys step", ""]
    assert [stage.estimated for stage in run.stages] == ["", "", "a guess"]
    assert run.seconds == 1580.0
    assert run.slices == 4  # of 540 s, of which the start takes some
    assert of_springs(results, budget_s=3600.0)[0].slices == 1
    assert run.command == (
        "KERAS_BACKEND=tensorflow repro run springs --variant faithful --preset paper "
        "--experiment few_loads --seeds 0,1,2 --workers 2 --time-budget 540 "
        "--out runs/springs-faithful-few_loads"
    )


def test_what_records_have_done_is_left_out_seed_by_seed(springs, results, record):
    for status, preset in (("failed", "paper"), ("ok", "desk")):
        other = record.model_copy(update={"status": status, "preset": preset})
        keep(other, results, f"{status}-{preset}")
    assert of_springs(results)[0].seeds == [0, 1, 2], "a failed or smaller run answers nothing"
    metrics = {n: m.model_copy(update={"values": {}}) for n, m in record.metrics.items()}
    some = record.model_copy(update={"seeds": [0, 2], "metrics": metrics})
    keep(some, results, "some")
    (run,) = of_springs(results)
    assert run.seeds == [1]
    assert "--seeds 1 " in run.command
    assert [stage.seconds for stage in run.stages] == [20.0, 500.0, 20.0]
    keep(record, results, "all")
    assert of_springs(results) == []
    assert "Nothing is wanted" in queue_markdown([])


def test_accepting_a_record_renews_the_document(springs, results, record):
    document = results.parent / "docs" / "paper_runs.md"
    document.parent.mkdir()
    shutil.copy(ROOT / "README.md", results.parent)
    document.write_text("<!-- queue:begin -->\nold\n<!-- queue:end -->\n")
    shutil.copytree(ROOT / "results", results, dirs_exist_ok=True)
    baselines.renew(results)
    assert "springs few_loads" in document.read_text()


@pytest.mark.parametrize(
    ("stage", "reason"),
    [
        ({}, "one of seconds, seconds_from"),
        ({"seconds": 1, "seconds_from": ["rates.json", "made"], "estimated": "x"}, "one of"),
        ({"seconds": 1}, "say how the time was estimated"),
        ({"seconds_from": ["rates.json", "made"], "factor": 2}, "say how"),
    ],
)
def test_a_time_without_its_source_is_refused(stage, reason):
    with pytest.raises(ValueError, match=reason):
        PaperStage(stage="data", count=1, unit="films", **stage)


def test_a_list_with_a_fault_is_named(tmp_path):
    file = tmp_path / "paper_runs.yaml"
    file.write_text("runs: [{id: main, priority: 0}]")
    with pytest.raises(ReproError, match=r"paper_runs\.yaml.*main.priority"):
        load_paper_runs(file)
    assert load_paper_runs(tmp_path / "none.yaml").runs == []


def test_a_rate_that_is_missing_is_named(springs, results):
    (results / "rates.json").write_text("{}")
    with pytest.raises(ReproError, match=r"rates\.json has no figure made"):
        of_springs(results)


def test_the_command_prints_text_json_and_the_document(springs, results, tmp_path):
    command = ["queue", "--study", "springs", "--results", str(results)]
    text = CliRunner().invoke(cli.app, command).stdout
    assert "1. springs few_loads: 1 claim, 3 seeds, 26 min on an H100 in 4 slices" in text
    (run,) = json.loads(CliRunner().invoke(cli.app, [*command, "--json"]).stdout)
    assert run["command"] in text
    document = tmp_path / "runs.md"
    document.write_text("Before\n<!-- queue:begin -->\n<!-- queue:end -->\n")
    CliRunner().invoke(cli.app, [*command, "--write", str(document)])
    assert run["command"] in document.read_text()
    refused = CliRunner().invoke(cli.app, ["queue", "--study", "nothing"])
    assert refused.exit_code == 2
    assert "no study 'nothing'" in refused.stderr


def test_a_study_without_a_list_wants_nothing(decays):
    assert get_study(decays).paper_runs.runs == []
