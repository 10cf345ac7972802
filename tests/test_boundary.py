"""Whatever ends a command badly is told in a sentence, with the exit status that fits."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from repro import cli
from repro.boundary import told
from repro.errors import GateFailed, NotPossibleHere, ReproError
from repro.runs import baselines

ROOT = Path(__file__).parents[1]
RECORD = ROOT / "results" / "records" / "mamba-faithful-desk" / "record.json"


def repro(*arguments, **options):
    """Run the command line as a shell does."""
    command = [sys.executable, "-m", "repro", *map(os.fspath, arguments)]
    options = {"capture_output": True, "text": True, "errors": "replace"} | options
    return subprocess.run(command, check=False, **options)


def system(number):
    return OSError(number, os.strerror(number), "somewhere")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        *((system(getattr(errno, name)), 2) for name in ("EROFS", "ENAMETOOLONG", "EFBIG")),
        *((system(getattr(errno, name)), 2) for name in ("ENOENT", "ENOSPC", "EACCES")),
        *((system(getattr(errno, name)), 3) for name in ("ENOLCK", "ENOSYS", "EIO", "EMFILE")),
        (MemoryError(), 3),
        (ModuleNotFoundError("No module named 'torch'", name="torch"), 3),
        (RuntimeError("Unable to initialize backend 'cuda': no"), 3),
        (UnicodeEncodeError("utf-8", "\udce4", 0, 1, "surrogates not allowed"), 2),
        (ReproError("Wrong."), 2),
        (GateFailed("No."), 1),
        (NotPossibleHere("Not here."), 3),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_can_be_foreseen_has_a_sentence_and_never_the_status_of_a_gate(error, status):
    said, found = told(error)
    assert found == status
    assert "\n" not in said
    assert "fault of repro" not in said


def test_what_nobody_foresaw_has_a_status_of_its_own_and_a_report(monkeypatch, tmp_path):
    # A traceback with status 1 reads as a gate that failed.
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)

    def stumble(*arguments):
        raise KeyError("who knows")

    monkeypatch.setattr(baselines, "judged_claims", stumble)
    ran = CliRunner().invoke(cli.app, ["claims"])
    assert ran.exit_code == 4
    assert "Traceback" not in ran.stderr
    (report,) = tmp_path.iterdir()
    assert str(report) in ran.stderr
    assert "who knows" in report.read_text()
    assert str(ROOT) not in report.read_text(), "it is sent to others"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["report", "--out", ""], "empty"),
        (["evaluate", ""], "empty"),
        (["accept", ""], "empty"),
        (["report", "--out", "/dev/full/a.html"], "cannot be written"),
        (["data", "info", "a" * 300], "File name too long"),
        (["data", "info", os.fsdecode(b"M\xe4rz.h5")], "not in UTF-8"),
        (["data", "verify", "."], "no data set"),
    ],
)
def test_names_that_no_file_can_have_are_told_in_a_sentence(arguments, said, tmp_path):
    ran = repro(*arguments, cwd=tmp_path)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert said in ran.stderr
    errors = [line for line in ran.stderr.splitlines() if not line.startswith("note: ")]
    assert len(errors) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_every_terminal_can_show_what_is_printed(encoding):
    ran = repro("compare", RECORD, RECORD, env=os.environ | {"PYTHONIOENCODING": encoding})
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout


def test_a_full_disk_under_the_output_is_told_once():
    with Path("/dev/full").open("w") as full:
        ran = repro("list", capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert ran.returncode == 2
    assert ran.stderr.count("\n") == 1
    assert "No space left" in ran.stderr


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_closed_streams_end_nothing_badly(closed):
    command = f"exec {sys.executable} -m repro list {closed}"
    assert subprocess.run(["sh", "-c", command], capture_output=True, check=False).returncode == 0


def test_a_reader_that_leaves_ends_nothing_badly():
    with subprocess.Popen(
        [sys.executable, "-m", "repro", "claims", "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as ran:  # fmt: skip
        ran.stdout.read(1)
        ran.stdout.close()
        assert ran.wait() == 0
        assert ran.stderr.read() == b""


def test_a_folder_that_is_read_only_is_told_in_a_sentence(tmp_path, monkeypatch):
    def read_only(*arguments, **options):
        raise system(errno.EROFS)

    monkeypatch.setattr("os.open", read_only)
    ran = CliRunner().invoke(cli.app, ["data", "croissant", "mamba", "--out", str(tmp_path / "c")])
    assert ran.exit_code == 2
    assert "Read-only file system" in ran.stderr


@pytest.mark.parametrize(
    ("variables", "status"),
    [
        ({"KERAS_BACKEND": "theano"}, 2),
        ({"KERAS_BACKEND": "numpy"}, 2),
        ({"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cuda"}, 3),
    ],
)
def test_a_backend_that_is_not_here_is_told_in_a_sentence(variables, status, tmp_path):
    ran = repro(
        "train", "mamba", "--set", "train=8", "--set", "validation=2", "--set", "test=2", "-q",
        "--set", "recipe.epochs=1", "--out", tmp_path / "run", env=os.environ | variables,
    )  # fmt: skip
    assert ran.returncode == status, ran.stderr
    assert "Traceback" not in ran.stderr


KERAS_JSON = (
    '{"floatx": "float64", "epsilon": 0.1, "backend": "jax", "image_data_format": "channels_first"}'
)
SETTINGS = """
import keras
before = keras.config.image_data_format()
from repro.training.precision import precision
with precision("float32"):
    print(before, keras.config.backend(), keras.config.image_data_format(), keras.config.floatx(),
          keras.config.epsilon(), keras.layers.Dense(1).dtype_policy.name)
"""


def test_the_users_settings_of_keras_reach_no_network(tmp_path):
    # With channels_first in keras.json a network had half its parameters, and no hash said so.
    (tmp_path / "keras.json").write_text(KERAS_JSON)
    variables = os.environ | {"KERAS_HOME": str(tmp_path), "KERAS_BACKEND": "tensorflow"}
    ran = subprocess.run(
        [sys.executable, "-c", SETTINGS], env=variables, capture_output=True, text=True, check=True
    )
    assert ran.stdout.split() == [
        "channels_first", "tensorflow", "channels_last", "float32", "1e-07", "float32",
    ]  # fmt: skip
