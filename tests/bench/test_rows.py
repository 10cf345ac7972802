"""Files of rows: how they grow, and what they refuse."""

import pytest

from repro.bench.rows import check_output, find_benchmarks, read_benchmarks, write_benchmarks
from repro.errors import ReproError


def test_rows_are_added_and_a_row_timed_again_replaces_its_own(tmp_path, bench_row, bench_file):
    out = tmp_path / "new" / "rows.json"
    write_benchmarks(out, bench_file(bench_row(0.1), bench_row(0.2, phase="infer")))
    write_benchmarks(out, bench_file(bench_row(0.3)))
    assert {r.phase: r.seconds.median for r in read_benchmarks(out).rows} == {
        "infer": 0.2,
        "train": 0.3,
    }


def test_a_committed_file_is_never_added_to(tmp_path, bench_row, bench_file):
    out = tmp_path / "results" / "benchmarks" / "networks" / "xeon.json"
    write_benchmarks(out, bench_file(bench_row()))
    with pytest.raises(ReproError, match="never changed"):
        check_output(out, bench_file())


@pytest.mark.parametrize(
    ("changes", "named"),
    [({"code": "other"}, "code"), ({"machine": {"cores": 64}}, "cores")],
)
def test_rows_of_another_machine_or_code_are_not_mixed(
    tmp_path, bench_row, bench_file, changes, named
):
    out = tmp_path / "rows.json"
    write_benchmarks(out, bench_file(bench_row(), **changes))
    with pytest.raises(ReproError, match=f"another {named}.*repro bench compare"):
        check_output(out, bench_file())


def test_the_clock_of_the_moment_makes_no_other_machine(tmp_path, bench_row, bench_file):
    out = tmp_path / "rows.json"
    write_benchmarks(
        out, bench_file(bench_row(), machine={"gpu": "H100", "graphics_clock_mhz": 345.0})
    )
    check_output(out, bench_file(machine={"gpu": "H100", "graphics_clock_mhz": 1980.0}))


def test_what_cannot_be_written_is_told_before_anything_is_timed(tmp_path, bench_file):
    with pytest.raises(ReproError, match="cannot be written"):
        check_output(tmp_path, bench_file())


@pytest.mark.parametrize("content", ["{half", "{}", '{"format": "other"}'])
def test_a_file_that_is_something_else_is_refused(tmp_path, content):
    path = tmp_path / "rows.json"
    path.write_text(content)
    with pytest.raises(ReproError, match=r"rows\.json"):
        read_benchmarks(path)


def test_files_are_found_under_the_results(tmp_path, bench_row, bench_file):
    kept = tmp_path / "benchmarks" / "networks" / "a.json"
    write_benchmarks(kept, bench_file(bench_row()))
    write_benchmarks(tmp_path / "benchmarks.json", bench_file(bench_row()))
    assert list(find_benchmarks([tmp_path])) == [kept, tmp_path / "benchmarks.json"]
