"""The small file of benchmark results, from a file as pytest-benchmark writes it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from repro.bench.device import sysinfo
from repro.bench.summary import MACHINE_FACTS, summarise, write_summary
from repro.errors import ReproError

CONFTEST = Path(__file__).parents[2] / "benchmarks" / "conftest.py"
BENCHMARK = """
def test_sum(benchmark):
    benchmark.pedantic(sum, args=([1, 2],), rounds=3)
    benchmark.extra_info["sums_per_second"] = 123456.789
"""


def raw(**changes):
    machine = dict.fromkeys(MACHINE_FACTS, 1) | {"node": "secret-host", "release": "6.1"}
    benchmark = {
        "name": "test_films[12]",
        "fullname": "/secret/path/test_speed.py::test_films[12]",
        "stats": {"median": 0.123456, "iqr": 0.00012345, "rounds": 5, "data": [0.1] * 5},
        "extra_info": {"films_per_second": 9876.54, "batch_size": 32, "policy": "float32"},
    }
    return {
        "machine_info": machine,
        "commit_info": {"id": "secret"},
        "benchmarks": [benchmark],
    } | changes


def test_keeps_times_and_rates_to_four_digits():
    assert summarise(raw())["benchmarks"] == {
        "test_films[12]": {
            "seconds_median": 0.1235,
            "seconds_iqr": 0.0001234,
            "rounds": 5,
            "films_per_second": 9877.0,
            "batch_size": 32,
            "policy": "float32",
        }
    }


def test_names_neither_host_nor_path_nor_commit():
    summary = summarise(raw())
    assert "secret" not in json.dumps(summary)
    assert set(summary["machine"]) == set(MACHINE_FACTS) == set(sysinfo())


@pytest.mark.parametrize("broken", [{}, {"machine_info": {}}, raw(benchmarks=[{"name": "x"}])])
def test_refuses_what_is_no_benchmark_run(broken):
    with pytest.raises(ReproError, match="no result of the benchmarks"):
        summarise(broken)


def test_a_broken_run_leaves_the_older_summary(tmp_path):
    out = tmp_path / "benchmarks.json"
    out.write_text("older")
    (tmp_path / "raw.json").write_text("{half")
    with pytest.raises(ReproError, match="is damaged"):
        write_summary(tmp_path / "raw.json", out)
    assert out.read_text() == "older"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["benchmarks.json", "raw.json"]


def test_summarises_a_real_run_of_pytest_benchmark(tmp_path):
    shutil.copy(CONFTEST, tmp_path)
    (tmp_path / "test_tiny.py").write_text(BENCHMARK)
    python = [sys.executable, "-m"]
    run = [*python, "pytest", "-q", "-p", "no:cacheprovider", "--benchmark-json=raw.json", "."]
    # pytest-benchmark measures nothing in a process that shares out its tests.
    alone = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    subprocess.run(run, cwd=tmp_path, check=True, capture_output=True, env=alone)
    small = [*python, "repro.bench.summary", "raw.json", "new/benchmarks.json"]
    subprocess.run(small, cwd=tmp_path, check=True, capture_output=True)
    summary = json.loads((tmp_path / "new" / "benchmarks.json").read_text())
    assert summary["benchmarks"]["test_sum"]["sums_per_second"] == 123500
    assert summary["benchmarks"]["test_sum"]["rounds"] == 3
    assert summary["machine"]["cores"] == sysinfo()["cores"]
    assert set(json.loads((tmp_path / "raw.json").read_text())["machine_info"]) == set(sysinfo())
