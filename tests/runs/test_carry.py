"""Which code a baseline record stands for, after a change of the code that moved no number."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from repro.errors import GateFailed, ReproError
from repro.evaluation.records import RecordedMetric, read_record, write_record
from repro.evaluation.regression import compare
from repro.runs.baselines import RECORDS, carry

COMMITTED = Path(__file__).parents[2] / "results" / "records" / "rheed_translator-faithful-desk"
OLD, NEW = "old" * 20, "new" * 20


@pytest.fixture(scope="module")
def small():
    """The record of a small run by the old code."""
    values = {"0": 0.1 + 0.2, "1": math.nan}
    metric = RecordedMetric(unit="1", better="lower", definition="mean |error|", values=values)
    return by(OLD, read_record(COMMITTED / "record.json")).model_copy(
        update={
            "metrics": {"mae": metric},
            "seeds": [0, 1],
            "preset": "smoke",
            "curves": {},
            "carried": [],
        }
    )


@pytest.fixture
def place(small, tmp_path):
    """A folder of results with four records, two of which the old code made for that variant."""
    others = {
        "one": small.model_copy(update={"preset": "desk"}),
        "two": small.model_copy(update={"preset": "paper", "experiment": "another"}),
        "other_code": by("third" * 12, small),
        "other_variant": small.model_copy(update={"variant": "improved"}),
    }
    for name, record in others.items():
        write_record(record, tmp_path / "results" / RECORDS / name / "record.json")
    return tmp_path


def by(code, record):
    return record.model_copy(update={"hashes": record.hashes.model_copy(update={"code": code})})


def carried(place, old, new):
    """Write two records and carry the code from one to the other."""
    paths = [write_record(r, place / name) for r, name in ((old, "old.json"), (new, "new.json"))]
    return carry(*paths, place / "results")


def test_day_commit_and_command_of_the_file_decide_nothing(place, small):
    later = {"date": "2031-05-06", "commit": "abc1234", "data_command": "repro data build mamba"}
    again = by(NEW, small).model_copy(update=later)
    assert len(carried(place, small, again)) == 2
    finite = {"metrics": {"mae": small.metrics["mae"].model_copy(update={"values": {"0": 0.3}})}}
    old = small.model_copy(update={**finite, "seeds": [0]})
    assert compare(old, old.model_copy(update=later)).exit_status == 0
    path = write_record(old.model_copy(update=later), place / "later.json")
    path.write_text(path.read_text().replace("2031-05-06", "2031-05-07"))
    with pytest.raises(ReproError, match="altered"):
        read_record(path)


def contents(place):
    return {p: p.read_bytes() for p in (place / "results").rglob("*") if p.is_file()}


def test_records_of_the_old_code_get_the_new_hash_and_keep_the_old_one(place, small):
    records = place / "results" / RECORDS
    before = {p.parent.name: read_record(p) for p in records.rglob("record.json")}
    changed = carried(place, small, by(NEW, small))
    assert changed == [records / name / "record.json" for name in ("one", "two")]
    for name, record in before.items():
        after = read_record(records / name / "record.json")
        if name in ("one", "two"):
            (earlier,) = after.carried
            assert (after.hashes.code, earlier.code) == (NEW, OLD)
            assert small.command in earlier.shown_by
            after = by(OLD, after).model_copy(update={"carried": []})
        assert after.model_dump_json() == record.model_dump_json(), "nothing else changes"


def test_carried_twice_a_record_names_both_earlier_codes(place, small):
    carried(place, small, by(NEW, small))
    path, _ = carried(place, by(NEW, small), by("newest", small))
    record = read_record(path)
    assert record.hashes.code == "newest"
    assert [earlier.code for earlier in record.carried] == [OLD, NEW]


def test_a_comparison_shows_the_codes_that_were_carried(place, small):
    path, _ = carried(place, small, by(NEW, small))
    record = read_record(path)
    comparison = compare(record, record)
    assert len(comparison.carried) == 2
    assert all(OLD in text and small.command in text for text in comparison.carried)


def moved(record, seed, value):
    metric = record.metrics["mae"]
    return {"mae": metric.model_copy(update={"values": metric.values | {seed: value}})}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda r: {"metrics": moved(r, "0", math.nextafter(0.1 + 0.2, 1))}, "metric mae"),
        (lambda r: {"metrics": moved(r, "1", 0.1)}, "metric mae"),
        (lambda r: {"metrics": {**r.metrics, "more": r.metrics["mae"]}}, "metric more"),
        (lambda r: {"metrics": {}}, "metric mae"),
        (lambda r: {"study": "mamba"}, "study"),
        (lambda r: {"variant": "improved"}, "variant"),
        (lambda r: {"preset": "desk"}, "preset"),
        (lambda r: {"experiment": "another"}, "experiment"),
        (lambda r: {"seeds": [0, 1, 2]}, "seeds"),
        (lambda r: {"status": "failed"}, "status"),
        *(
            (
                lambda r, name=name: {"hashes": r.hashes.model_copy(update={name: "0"})},
                f"hash of the {name}",
            )
            for name in ("metrics", "data", "configuration", "environment")
        ),
    ],
)
def test_runs_that_differ_in_more_than_the_code_show_nothing(place, small, change, said):
    before = contents(place)
    new = by(NEW, small)
    with pytest.raises(GateFailed, match=said) as error:
        carried(place, small, new.model_copy(update=change(new)))
    assert error.value.exit_status == 1
    assert contents(place) == before


def test_runs_that_measured_nothing_or_are_of_one_code_show_nothing(place, small):
    before = contents(place)
    empty = small.model_copy(update={"metrics": {}})
    for old, new in ((empty, by(NEW, empty)), (small, small)):
        with pytest.raises(GateFailed):
            carried(place, old, new)
    assert contents(place) == before


def test_a_code_that_made_no_baseline_record_is_named(place, small):
    before = contents(place)
    with pytest.raises(ReproError, match="unknown"):
        carried(place, by("unknown", small), by(NEW, small))
    assert contents(place) == before
