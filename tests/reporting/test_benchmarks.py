"""The report's page of benchmarks."""

from pathlib import Path

import pytest

from repro.bench.summary import find_ratios
from repro.errors import ReproError
from repro.reporting.benchmark_figures import intensity, series
from repro.reporting.benchmarks import benchmark_view
from repro.reporting.formatting import MISSING
from repro.reporting.report import render

ROOT = Path(__file__).parents[2]


def test_without_benchmarks_there_is_no_such_page(tmp_path):
    assert benchmark_view({}, {}) is None
    assert 'id="speed"' not in render([], {}, tmp_path)


def test_machines_rows_and_doubts_are_shown_and_the_page_is_the_same_each_time(
    tmp_path, bench_row, bench_file
):
    rows = [
        bench_row(),
        bench_row(0.15, batch=64),
        bench_row(0.01, phase="infer"),
        bench_row(0.06, workers=2),
    ]
    doubtful = bench_row(
        0.2, precision="mixed_bfloat16", marks=["other processes kept 1.3 cores busy"]
    )
    files = {
        tmp_path / "a.json": bench_file(*rows, doubtful),
        tmp_path / "b.json": bench_file(bench_row(0.01), machine={"gpu": "NVIDIA H100"}),
    }
    page = render([], {}, tmp_path, benchmarks=files)
    assert "Test processor, 2 cores, tensorflow" in page
    assert "NVIDIA H100, tensorflow" in page
    assert "<li>other processes kept 1.3 cores busy</li>" in page
    assert page == render([], {}, tmp_path, benchmarks=files)
    view = benchmark_view({str(path): made for path, made in files.items()}, {})
    assert [figure.name for figure in view.machines[0].figures] == ["Roofline", "Batch", "Workers"]
    assert [figure.name for figure in view.machines[1].figures] == ["Roofline"]
    assert view.side_by_side is not None


def test_a_row_lies_where_its_operations_and_bytes_put_it(bench_row):
    made = bench_row()
    assert intensity(made) * made.memory.share * made.memory.rate == made.flops_per_second
    assert intensity(bench_row(memory=None)) is None


def test_lines_hold_all_else_the_same(bench_row):
    rows = [
        bench_row(batch=64),
        bench_row(batch=32),
        bench_row(batch=32, workers=2),
        bench_row(phase="infer"),
    ]
    lines = series(rows, "batch", "train")
    assert [list(line) for line in lines.values()] == [[32, 64], [32]]


def test_a_file_without_training_rows_draws_nothing(bench_row, bench_file):
    view = benchmark_view({"a.json": bench_file(bench_row(phase="data"))}, {})
    assert view.side_by_side is None
    assert view.machines[0].figures == []
    assert Path(view.machines[0].source).name == "a.json"


def test_programs_beside_each_other_are_shown_machine_by_machine():
    files = find_ratios([ROOT / "results"])
    view = benchmark_view({}, {path.name: content for path, content in files.items()}).ratios
    assert len(view.machines) == len(files) == 3
    rows = dict(view.rows)
    scaling = rows["two workers against one[(128, 256, 512)-4]: speedup over one worker"]
    assert scaling == ["1.90", MISSING, "1.91"]
    page = render([], {}, ROOT, ratios=files)
    assert "One program beside another" in page


@pytest.mark.parametrize("content", ["{half", "[]", '{"machine": {}}'])
def test_a_damaged_file_of_ratios_is_named(tmp_path, content):
    (tmp_path / "ratios.json").write_text(content)
    with pytest.raises(ReproError, match=r"ratios\.json"):
        find_ratios([tmp_path])
