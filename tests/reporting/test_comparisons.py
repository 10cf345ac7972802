"""What `repro compare` makes of the baseline records, with planted changes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from repro.errors import ReproError
from repro.evaluation.records import read_record, write_record
from repro.reporting.comparisons import compare_paths

RESULTS = Path(__file__).parents[2] / "results"
RECORD = RESULTS / "records" / "mamba-faithful-desk"
BENCHMARKS = RESULTS / "benchmarks" / "networks" / "epyc.json"
RATIOS = RESULTS / "benchmarks" / "ratios" / "epyc.json"


def edited(record, factor, folder, *names):
    """Write a record whose metrics of some names are multiplied, made by other code."""
    metrics = {
        name: metric.model_copy(
            update={"values": {s: factor * v for s, v in metric.values.items()}}
        )
        for name in names
        for metric in [record.metrics[name]]
    }
    hashes = record.hashes.model_copy(update={"code": "another"})
    changed = record.model_copy(update={"metrics": record.metrics | metrics, "hashes": hashes})
    folder.mkdir(parents=True, exist_ok=True)
    return write_record(changed, folder / "record.json")


def changed_benchmarks(path, change):
    content = json.loads(BENCHMARKS.read_text(encoding="utf-8"))
    change(content["rows"])
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_a_record_and_its_folder_are_the_same_thing(tmp_path):
    compared = compare_paths(RECORD / "record.json", RECORD)
    assert compared.exit_status == 0
    assert "Nothing moved" in compared.page(only_changed=True)
    assert compared.facts(only_changed=True)["rows"] == []


def test_a_worse_primary_metric_and_the_hash_that_differs_are_told(tmp_path):
    record = read_record(RECORD / "record.json")
    worse = edited(record, 2, tmp_path, "validation_mae/real", "ceiling/r2/c")
    compared = compare_paths(RECORD, worse)
    page, facts = compared.page(only_changed=True), compared.facts(only_changed=True)
    assert compared.exit_status == 1
    assert {row["metric"]: row["status"] for row in facts["rows"]} == {
        "validation_mae/real": "regression",
        "ceiling/r2/c": "better, watched",
    }
    assert facts["changed"] == ("code",)
    assert "| **validation_mae/real** |" in page
    assert "| ceiling/r2/c |" in page


def test_a_gain_needs_a_reason(tmp_path):
    better = edited(read_record(RECORD / "record.json"), 0.3, tmp_path, "validation_mae/real")
    assert compare_paths(RECORD, better).exit_status == 1
    assert compare_paths(RECORD, better, "A wider network.").exit_status == 0


def test_folders_of_records_are_compared_by_name_and_a_lost_record_fails(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    for folder in (old, new):
        for name in ("mamba-faithful-desk", "mamba-faithful-desk-layers_4"):
            shutil.copytree(RESULTS / "records" / name, folder / name)
    assert compare_paths(old, new).exit_status == 0
    assert set(compare_paths(old, new).facts()["records"]) == {p.name for p in old.iterdir()}
    shutil.rmtree(new / "mamba-faithful-desk-layers_4")
    compared = compare_paths(old, new)
    assert compared.lost == ("mamba-faithful-desk-layers_4",)
    assert compared.exit_status == 1


def test_every_baseline_record_passes_against_itself():
    compared = compare_paths(RESULTS / "records", RESULTS / "records")
    assert {name: pair.status for name, pair in compared.pairs.items()} == dict.fromkeys(
        compared.pairs, "passed"
    )


def test_other_films_are_not_comparable():
    compared = compare_paths(RECORD, RECORD.with_name("mamba-faithful-desk-layers_4"))
    assert compared.exit_status == 2
    assert "not comparable" in compared.page()


def test_a_step_a_tenth_slower_fails_wherever_its_interval_is_narrow_enough(tmp_path):
    def slower(rows):
        for row in rows:
            for name in ("median", "low", "high", "p95"):
                row["seconds"][name] *= 1.1

    assert compare_paths(BENCHMARKS, BENCHMARKS).exit_status == 0
    rows = json.loads(BENCHMARKS.read_text(encoding="utf-8"))["rows"]
    told = [row["seconds"]["high"] / row["seconds"]["low"] < 1.1 for row in rows]
    compared = compare_paths(BENCHMARKS, changed_benchmarks(tmp_path / "b.json", slower))
    assert [pair.fails for pair in compared.comparison.pairs] == told
    assert np.mean(told) > 0.8  # the others were timed while the machine was busy
    assert compared.exit_status == 1


def test_a_lost_benchmark_fails(tmp_path):
    lost = changed_benchmarks(tmp_path / "b.json", lambda rows: rows.pop())
    compared = compare_paths(BENCHMARKS, lost)
    assert compared.exit_status == 1
    assert "lost" in compared.page(only_changed=True)
    assert len(compared.facts(only_changed=True)["pairs"]) == 1


def changed_ratios(path, change):
    content = json.loads(RATIOS.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_a_speed_up_that_shrank_or_is_lost_fails(tmp_path):
    name, figure = "test_mkl_against_scipy_transforms[512x512]", "speedup_over_scipy"
    same = compare_paths(RATIOS, RATIOS)
    assert same.exit_status == 0
    assert same.facts(only_changed=True)["ratios"] == ()

    def planted(factor):
        def change(content):
            content["benchmarks"][name][figure] *= factor
            content["machine"]["packages"]["keras"] = "4.0"

        return compare_paths(RATIOS, changed_ratios(tmp_path / "b.json", change))

    shrunk, grown, stayed = planted(0.85), planted(1.2), planted(0.97)
    (row,) = shrunk.facts(only_changed=True)["ratios"]
    assert (row["result"], row["fails"], shrunk.exit_status) == ("smaller", True, 1)
    assert f"{figure} |" in shrunk.page(only_changed=True)
    (row,) = grown.facts(only_changed=True)["ratios"]
    assert (row["result"], grown.exit_status) == ("larger", 0)
    assert stayed.exit_status == 0
    assert stayed.facts(only_changed=True)["ratios"] == ()
    lost = changed_ratios(tmp_path / "c.json", lambda content: content["benchmarks"].pop(name))
    assert compare_paths(RATIOS, lost).exit_status == 1
    assert "lost" in compare_paths(RATIOS, lost).page(only_changed=True)


def test_where_rounds_scatter_a_speed_up_may_shrink_by_as_much(tmp_path):
    name = "test_training_step_of_the_published_translator_against_pytorch"
    figures = json.loads(RATIOS.read_text(encoding="utf-8"))["benchmarks"][name]
    assert figures["seconds_iqr"] / figures["seconds_median"] > 0.13
    worse = changed_ratios(
        tmp_path / "b.json",
        lambda content: content["benchmarks"][name].update(speedup_over_pytorch=2.489 / 1.12),
    )
    assert compare_paths(RATIOS, worse).exit_status == 0


def test_ratios_of_another_machine_are_not_comparable():
    compared = compare_paths(RATIOS, RATIOS.with_name("xeon.json"))
    assert compared.exit_status == 2
    assert "Not comparable" in compared.page()


def test_what_cannot_be_compared_is_refused(tmp_path):
    with pytest.raises(ReproError, match="two of a sort"):
        compare_paths(BENCHMARKS, RATIOS)
    for other in (BENCHMARKS, RATIOS, tmp_path):
        with pytest.raises(ReproError):
            compare_paths(RECORD, other)
