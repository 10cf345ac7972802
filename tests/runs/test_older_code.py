"""Where a record is not of today's code, whatever shows it says so."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from repro import cli
from repro.evaluation.records import read_record, write_record
from repro.reporting.tables import OLDER
from repro.runs import baselines

RECORDS = Path(__file__).parents[2] / "results" / "records"
STALE, OURS, FRESH = "mamba-faithful-desk", "mamba-improved-desk", "strain_ae-improved-desk"


def renewed(path, code):
    record = read_record(path)
    hashes = record.hashes.model_copy(update={"code": code})
    write_record(record.model_copy(update={"hashes": hashes}), path)


@pytest.fixture
def results(tmp_path, monkeypatch):
    """Three baseline records, of which one is of older code."""
    monkeypatch.chdir(tmp_path)
    for name in (STALE, OURS, FRESH):
        shutil.copytree(RECORDS / name, tmp_path / "results" / "records" / name)
        path = tmp_path / "results" / "records" / name / "record.json"
        code = baselines.hash_code(name.split("-")[0])
        renewed(path, "0" * 64 if name == STALE else code)
    return tmp_path / "results"


def said(*arguments):
    result = CliRunner().invoke(cli.app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.stderr or result.exception
    return result.stdout


def test_a_record_is_stale_where_its_code_is_not_todays(results):
    (path,) = baselines.of_older_code(baselines.find_records([results]))
    assert path.parent.name == STALE


def test_list_and_info_count_and_name_records_of_older_code(results):
    rows = {row["name"]: row for row in json.loads(said("list", "--json"))}
    assert rows["mamba"]["records_of_older_code"] == [STALE]
    assert rows["mamba"]["records"] == [STALE, OURS]
    assert rows["strain_ae"]["records_of_older_code"] == []
    marked = [line for line in said("list").splitlines() if OLDER in line]
    assert [line.split()[0] for line in marked] == ["mamba"]
    marked = [line for line in said("info", "mamba").splitlines() if OLDER in line]
    assert len(marked) == 1
    assert STALE in marked[0]
    assert OLDER not in said("info", "strain_ae")


def test_claims_mark_values_from_records_of_older_code(results):
    rows = json.loads(said("claims", "--json"))
    faithful = {row["claim"]: row["stale"] for row in rows if row["records"]}
    assert any(faithful.values())
    for row in rows:
        assert row["stale"] == any(STALE in path for path in row["records"]), row["claim"]
        assert not row["ours_stale"], row["claim"]
    renewed(results / "records" / STALE / "record.json", baselines.hash_code("mamba"))
    renewed(results / "records" / OURS / "record.json", "0" * 64)
    rows = json.loads(said("claims", "--study", "mamba", "--json"))
    assert not any(row["stale"] for row in rows)
    assert any(row["ours_stale"] for row in rows)
    assert OLDER in " ".join(said("claims", "--study", "mamba").split())
    assert OLDER not in said("claims", "--study", "strain_ae")


def test_the_page_has_a_badge_at_the_run_and_at_what_rests_on_it(results, tmp_path):
    said("report", "--out", tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    badge = f'<span class="badge">{OLDER}</span>'
    runs = re.findall(r'<details class="run" id="([^"]+)".*?</summary>', page, re.DOTALL)
    heads = re.findall(r'<details class="run".*?</summary>', page, re.DOTALL)
    marked = [run for run, head in zip(runs, heads, strict=True) if badge in head]
    assert len(marked) == 1
    assert STALE in marked[0]
    assert page.count(badge) > 1
    renewed(results / "records" / STALE / "record.json", baselines.hash_code("mamba"))
    said("report", "--out", tmp_path / "report.html")
    assert badge not in (tmp_path / "report.html").read_text(encoding="utf-8")
