"""Several versions of the libraries in one table; no library is installed here."""

from __future__ import annotations

from pathlib import Path

import pytest

from repro.errors import ReproError
from repro.evaluation.records import read_record, write_record
from repro.reporting.comparisons import compare_records
from repro.reporting.matrix import Cell, combinations, exit_status, facts, page, run_matrix

RECORD = Path(__file__).parents[2] / "results" / "records" / "mamba-faithful-desk" / "record.json"


def test_every_combination_is_a_row_and_the_first_is_what_others_are_held_to():
    found = combinations(keras=["3.14", "latest"], tensorflow=["2.20", "2.21"], jax=[])
    assert len(found) == 4
    assert found[0] == {"keras": "3.14", "tensorflow": "2.20"}
    assert len({Cell(versions).name for versions in found}) == 4
    with pytest.raises(ReproError):
        combinations(keras=[])


@pytest.mark.slow
def test_versions_that_do_not_exist_are_a_row_and_no_crash(tmp_path):
    (cell,) = run_matrix(["mamba"], [{"keras": "0.0.1"}], tmp_path)
    assert cell.record is None
    assert "failed" in page([cell])
    assert exit_status([cell]) == 1


def test_the_table_says_which_version_moved_which_number(tmp_path):
    old = read_record(RECORD)
    values = {seed: 2 * value for seed, value in old.metrics["test_mae"].values.items()}
    metric = old.metrics["test_mae"].model_copy(update={"values": values})
    changes = {
        "metrics": old.metrics | {"test_mae": metric},
        "hashes": old.hashes.model_copy(update={"environment": "another"}),
    }
    path = write_record(old.model_copy(update=changes), tmp_path / "record.json")
    comparison = compare_records(old, read_record(path))
    cells = [Cell({"keras": "3.14"}, RECORD), Cell({"keras": "3.15"}, path, "", comparison)]
    moved = page(cells).splitlines()[-1]
    assert "keras 3.15" in moved
    assert "test_mae (regression)" in moved
    assert exit_status(cells) == 1
    assert exit_status(cells[:1]) == 0
    assert facts(cells)[1]["comparison"]["changed"] == ("environment",)
