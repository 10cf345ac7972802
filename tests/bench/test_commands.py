"""``repro bench`` as a user types it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from repro.bench import ceilings, session
from repro.bench.accept import with_table
from repro.bench.rows import read_benchmarks, write_benchmarks
from repro.cli import app

ROOT = Path(__file__).parents[2]
TOYS = ROOT / "tests" / "toy_studies" / "studies"


def call(*arguments):
    return CliRunner().invoke(app, ["bench", *map(str, arguments)])


def refused(*arguments, status=2):
    result = call(*arguments)
    assert result.exit_code == status, (result.stdout, result.stderr, result.exception)
    assert result.stderr.startswith("error: ")
    assert "Traceback" not in result.stderr
    return result.stderr


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["nosuch"], "nosuch"),
        (["mamba", "--phase", "fly"], "train, infer, data"),
        (["mamba", "--preset", "huge"], "smoke, desk, paper"),
        (["mamba", "--variant", "best"], "faithful, improved"),
        (["mamba", "--precision", "int8"], "mixed_bfloat16"),
        (["mamba", "--batch", "16,most"], "16,64,max"),
        (["mamba", "--batch", "0"], "16,64,max"),
        (["mamba", "--devices", "0"], "at least 1"),
        (["mamba", "--steps", "all"], "one_by_one, on_device, scan"),
        (["mamba", "--phase", ""], "at least one"),
        (["mamba", "--backend", "torch"], "KERAS_BACKEND=torch repro bench"),
    ],
)
def test_wrong_use_is_told_in_a_sentence(arguments, named):
    assert named in refused(*arguments)


def test_a_worker_of_a_launcher_is_refused(monkeypatch):
    monkeypatch.setenv("HOROVOD_SIZE", "2")
    monkeypatch.setenv("HOROVOD_RANK", "0")
    assert "one process" in refused("mamba")


def test_the_commands_are_found_and_times_is_the_default():
    assert "--time-budget" in call("--help").stdout
    assert "--factor" in call("compare", "--help").stdout


def test_compare_prints_markdown_or_json_and_fails_on_a_slower_row(tmp_path, bench_row, bench_file):
    a, b = tmp_path / "a.json", tmp_path / "b.json"
    write_benchmarks(a, bench_file(bench_row(0.1)))
    write_benchmarks(b, bench_file(bench_row(0.2)))
    result = call("compare", a, b)
    assert result.exit_code == 1
    assert "A faster" in result.stdout
    assert call("compare", b, a).exit_code == 0
    assert json.loads(call("compare", a, b, "--json").stdout)["exit_status"] == 1
    assert "cannot be read" in refused("compare", a, tmp_path / "none.json")


def test_accept_keeps_a_file_once_and_renews_the_readme(tmp_path, bench_row, bench_file):
    made, results = tmp_path / "made.json", tmp_path / "results"
    write_benchmarks(made, bench_file(bench_row(0.1)))
    shutil.copy(ROOT / "README.md", tmp_path)
    result = call("accept", made, "--name", "test", "--results", results)
    assert result.exit_code == 0, result.stderr
    assert "| Test processor, 2 cores, tensorflow | mamba `faithful` real |" in (
        tmp_path / "README.md"
    ).read_text(encoding="utf-8")
    assert "never overwritten" in refused("accept", made, "--name", "test", "--results", results)
    assert "letters" in refused("accept", made, "--name", "../x", "--results", results)


def test_the_readmes_table_is_what_the_results_say():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert with_table(readme, ROOT / "results") == readme


@pytest.fixture
def quick(monkeypatch):
    """Small ceilings and few steps."""
    monkeypatch.setattr(ceilings, "SIZE", 64)
    monkeypatch.setattr(ceilings, "BYTES", 2**20)
    monkeypatch.setattr(session, "MOST_SECONDS_A_PHASE", 0.3)


@pytest.mark.slow
def test_every_phase_of_a_study_is_timed_and_added_to_the_file(springs, tmp_path, quick):
    out = tmp_path / "rows.json"
    asked = [springs, "--variant", "faithful", "--preset", "paper", "--json", out, "--quiet"]
    result = call(*asked)
    assert result.exit_code == 0, (result.stderr, result.exception)
    made = read_benchmarks(out)
    rows = {row.phase: row for row in made.rows}
    assert set(rows) == {"train", "infer", "data"}
    assert rows["train"].flops > 0
    assert rows["train"].way == "one_by_one"
    assert 0 <= rows["train"].waiting < 1
    assert rows["train"].matmul.name == "FP32"
    assert rows["train"].memory.share > 0
    assert rows["infer"].samples_per_second > 0
    assert rows["data"].flops is None
    assert "Energy was not measured" in made.notes[0]
    assert str(tmp_path) not in out.read_text()


@pytest.mark.slow
def test_a_sweep_ends_with_the_reason_and_rows_are_added(springs, tmp_path, quick, monkeypatch):
    out = tmp_path / "rows.json"
    asked = [springs, "--variant", "faithful", "--preset", "smoke", "--phase", "infer"]
    assert call(*asked, "--batch", "8", "--json", out).exit_code == 0
    monkeypatch.setattr(session, "USABLE_MEMORY", 0.0)
    assert call(*asked, "--batch", "4,max", "--json", out).exit_code == 0
    rows = {row.batch: row for row in read_benchmarks(out).rows}
    assert set(rows) == {4, 8}
    assert "GB of memory" in rows[4].largest


@pytest.mark.slow
def test_a_batch_that_the_device_cannot_hold_ends_a_sweep_not_the_command(
    springs, tmp_path, quick, monkeypatch
):
    from repro.bench import subject

    answer = subject.Subject._answers

    def holds_eight(self, x, n_steps):
        if len(x) > 8:
            raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate")
        return answer(self, x, n_steps)

    monkeypatch.setattr(subject.Subject, "_answers", holds_eight)
    out = tmp_path / "rows.json"
    asked = [springs, "--variant", "faithful", "--preset", "smoke", "--phase", "infer,data"]
    result = call(*asked, "--batch", "4,max", "--json", out)
    assert result.exit_code == 0, (result.stderr, result.exception)
    rows = {(row.phase, row.batch): row for row in read_benchmarks(out).rows}
    assert set(rows) == {("infer", 4), ("infer", 8), ("data", 4)}
    assert rows["infer", 8].largest == "the device's memory is full"


@pytest.mark.slow
def test_what_does_not_fit_in_the_time_is_said(springs, quick, monkeypatch):
    monkeypatch.setattr(session, "MOST_OF_WHAT_IS_LEFT", 0.0)
    result = call(springs, "--variant", "faithful", "--preset", "smoke", "--phase", "train")
    assert result.exit_code == 0
    assert "left out: springs faithful smoke stiffness" in result.stdout
    assert "too long" in result.stdout


WITH_TOYS = """
import sys
import repro.studies
repro.studies.__path__.append(sys.argv.pop(1))
from repro.cli import main
main()
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("option", "workers", "way"), [("--devices=2", 2, "on_device"), ("--steps=scan", 1, "scan")]
)
def test_steps_on_the_device_are_timed_under_jax(springs, tmp_path, option, workers, way):
    out = tmp_path / "rows.json"
    command = [sys.executable, "-c", WITH_TOYS, str(TOYS), "bench", springs, option, "--json", out]
    command += ["--variant", "improved", "--preset", "smoke", "--phase", "train"]
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    (row,) = read_benchmarks(out).rows
    assert (row.backend, row.workers, row.way) == ("jax", workers, way)
    assert row.seconds.median < 0.1 * row.first_seconds, "the compilation is not in it"
