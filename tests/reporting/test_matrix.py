"""Several versions of the libraries in one table; no library is installed here."""

from __future__ import annotations

from pathlib import Path

import pytest

from repro.errors import ReproError
from repro.evaluation.records import read_record, write_record
from repro.reporting.comparisons import compare_records
from repro.reporting.matrix import (
    Cell,
    combinations,
    exit_status,
    facts,
    find_matrices,
    kept_path,
    matrix_file,
    page,
    run_matrix,
    write_matrix,
)
from repro.reporting.report import render

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


@pytest.fixture
def cells(tmp_path):
    """Two versions, of which the second doubled an error, and a third that cannot be installed."""
    old = read_record(RECORD)
    values = {seed: 2 * value for seed, value in old.metrics["test_mae"].values.items()}
    metric = old.metrics["test_mae"].model_copy(update={"values": values})
    changes = {
        "metrics": old.metrics | {"test_mae": metric},
        "hashes": old.hashes.model_copy(update={"environment": "another"}),
    }
    path = write_record(old.model_copy(update=changes), tmp_path / "record.json")
    comparison = compare_records(old, read_record(path))
    failed = Cell({"keras": "0.0.1"}, None, "no solution; see /root/somebody/log.txt")
    return [Cell({"keras": "3.14"}, RECORD), Cell({"keras": "3.15"}, path, "", comparison), failed]


def test_the_table_says_which_version_moved_which_number(cells):
    moved = page(cells).splitlines()[-2]
    assert "keras 3.15" in moved
    assert "test_mae (regression)" in moved
    assert exit_status(cells) == 1
    assert exit_status(cells[:1]) == 0
    assert facts(cells)[1]["comparison"]["changed"] == ("environment",)


def test_a_matrix_is_kept_comes_back_and_stands_in_the_report(cells, tmp_path, gallery):
    made = matrix_file(cells, "repro matrix mamba --keras 3.14,3.15,0.0.1")
    path = write_matrix(made, kept_path("keras", tmp_path / "results"))
    found = find_matrices([tmp_path / "results"])
    assert found == {path: made}
    assert "/root" not in path.read_text(encoding="utf-8")
    assert [row.outcome for row in made.rows] == ["first", "failed", "no run"]
    (moved,) = [one for one in made.rows[1].moved if one.metric == "test_mae"]
    assert moved.after == pytest.approx(2 * moved.before)
    assert moved.status == "regression"
    folder, entries, studies = gallery
    text = render(entries, studies, folder, matrices=found)
    section = text[text.index('<section id="versions"') :].split("</section>")[0]
    for said in ("keras 3.14", "keras 3.15", "test_<wbr>mae (regression)", "failed: no solution"):
        assert said in section
    assert "repro matrix" in section
    assert 'id="versions"' not in render(entries, studies, folder)


def test_a_kept_matrix_that_is_damaged_or_has_a_name_of_no_file_is_refused(tmp_path):
    path = kept_path("keras", tmp_path)
    path.parent.mkdir()
    path.write_text('{"format": "repro-matrix", "rows": 3}')
    with pytest.raises(ReproError, match=r"keras\.json"):
        find_matrices([tmp_path])
    for name in ("../keras", "", "a b"):
        with pytest.raises(ReproError, match="keep"):
            kept_path(name, tmp_path)
