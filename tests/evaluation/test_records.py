import contextlib
import json
import math
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from repro.errors import ReproError
from repro.evaluation.records import read_record, seal_of, without_paths, write_record

KILLS = int(os.environ.get("REPRO_TEST_KILLS", "3"))
TRIES = int(os.environ.get("REPRO_TEST_BYTES", "200"))


def test_a_record_comes_back_as_it_was_written(make_record, tmp_path):
    record = make_record(
        {"mae": [0.124, 0.125]},
        curves={"real": {"0": {"loss": [0.2, 0.1]}}},
    )
    assert read_record(write_record(record, tmp_path / "new" / "record.json")) == record


def altered(path, change):
    """Alter what a record's file says, and leave its seal as it is."""
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return path


def forged(path, change):
    """Alter what a record's file says, and seal it anew."""
    return altered(path, lambda content: (change(content), content.update(seal=seal_of(content))))


@pytest.mark.parametrize(
    "change",
    [
        lambda record: record["metrics"]["mae"]["values"].update({"0": 0.05}),
        lambda record: record["hashes"].update(code="0"),
        lambda record: record.update(accepted_because="Because."),
        lambda record: record.pop("seal"),
        lambda record: record.update(seal="0" * 64),
    ],
)
def test_a_record_that_was_altered_by_hand_is_refused(make_record, tmp_path, change):
    # Whatever was typed into a record counted in claims, report and gates.
    path = altered(write_record(make_record({"mae": [0.1]}), tmp_path / "record.json"), change)
    with pytest.raises(ReproError, match=r"record\.json (was altered|has no seal)"):
        read_record(path)


def test_a_record_may_be_laid_out_anew(make_record, tmp_path):
    record = make_record({"mae": [0.1]})
    path = altered(write_record(record, tmp_path / "record.json"), lambda content: None)
    assert read_record(path) == record


@pytest.mark.parametrize(
    ("curves", "said"),
    [
        ({"real": {"0": {"loss": [0.2, 0.1], "val_loss": [0.2]}}}, "differ in length"),
        ({"real": {"0": {"loss": [0.2, "NaN"]}}}, "not finite"),
    ],
)
def test_curves_that_cannot_be_drawn_are_refused_and_named(make_record, tmp_path, curves, said):
    # One such record ended the whole report, and nobody was told which.
    path = write_record(make_record({"mae": [0.1]}), tmp_path / "record.json")
    with pytest.raises(ReproError, match=rf"record\.json .*real, seed 0, .*{said}"):
        read_record(forged(path, lambda content: content.update(curves=curves)))


def test_a_metric_that_is_no_number_survives_in_valid_json(make_record, tmp_path):
    record = make_record({"mae": [float("nan"), float("inf")]})
    path = write_record(record, tmp_path / "record.json")
    json.loads(path.read_text(), parse_constant=pytest.fail)
    values = read_record(path).metrics["mae"].values
    assert math.isnan(values["0"])
    assert values["1"] == math.inf


def test_no_absolute_path_gets_into_a_record(make_record, tmp_path):
    record = make_record(
        {"mae": [0.1]},
        command="repro run mamba --data /home/ann/x/data.h5 --out=/srv/big/run",
        networks={"real": {"parameters": 1, "recipe": {"weights": "~/ann/best.h5"}}},
    )
    text = write_record(record, tmp_path / "record.json").read_text()
    assert "ann" not in text
    assert "srv" not in text
    assert '"repro run mamba --data data.h5 --out=run"' in text


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("1/Å and a/b and r2/c/01", "1/Å and a/b and r2/c/01"),
        ("Σ(x - y)² / Σ(x)², n /2", "Σ(x - y)² / Σ(x)², n /2"),
        ("see https://example.org/a/b", "see https://example.org/a/b"),
        ("figures/mae.svg", "figures/mae.svg"),
        ("cannot read '/home/ann/a.h5'", "cannot read 'a.h5'"),
        (r"C:\Users\ann\a.h5", "a.h5"),
        ("/home/ann/", "."),
        ("/home/ann b/my data/a.h5", "a.h5"),
        ("--data='/home/ann b/my data.h5'", "--data='my data.h5'"),
        ("file:///home/ann/a.h5", "a.h5"),
        ("file://host/home/ann/a.h5", "a.h5"),
        ("{/home/ann/a.h5}", "{a.h5}"),
        ("in:/home/änn, 2/a.h5;/srv/b/c", "in:a.h5;c"),
        ("~ann/x/a.h5", "a.h5"),
        (r"\\host\share\ann\a.h5", "a.h5"),
    ],
)
def test_only_absolute_paths_are_cut(text, kept):
    assert without_paths({"key": [text]}) == {"key": [kept]}


def test_a_failed_write_leaves_the_record_that_was_there(make_record, tmp_path, monkeypatch):
    path = write_record(make_record({"mae": [0.1]}), tmp_path / "record.json")
    before = path.read_bytes()

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(ReproError, match="disk is full"):
        write_record(make_record({"mae": [0.2]}), path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["record.json"]


def test_a_record_cannot_be_written_below_a_file(make_record, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ReproError, match="cannot be written"):
        write_record(make_record({"mae": [0.1]}), tmp_path / "file" / "record.json")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema_version": 3}, "newer repro"),
        ({"schema_version": 99, "future": 1}, "newer repro"),
        ({"schema_version": "1.0"}, "schema_version"),
        ({"schema_version": 1}, "schema_version"),
        ({"seeds": [0, 0]}, "seeds has one twice"),
        ({"status": "fine"}, "status"),
        ({"extra": 1}, "extra is not a known field"),
        ({"hashes": {"code": "a"}}, r"hashes\.metrics is missing"),
        ({"seeds": [5]}, "seed 0"),
        ({"metrics": {"mae": {"unit": "1", "better": "up"}}}, r"metrics\.mae\.better"),
    ],
)
def test_a_wrong_field_is_named_in_one_line(make_record, tmp_path, change, said):
    path = write_record(make_record({"mae": [0.1]}), tmp_path / "record.json")
    forged(path, lambda content: content.update(change))
    with pytest.raises(ReproError, match=said) as error:
        read_record(path)
    assert "\n" not in str(error.value)
    assert error.value.exit_status == 2


@pytest.mark.parametrize("content", [b"", b'{"study": "mam', b"\xff\xfe", b"[1]", b"null", b"3"])
def test_a_damaged_record_is_named_in_one_line(tmp_path, content):
    path = tmp_path / "record.json"
    path.write_bytes(content)
    with pytest.raises(ReproError, match=r"record\.json") as error:
        read_record(path)
    assert "\n" not in str(error.value)


def test_a_missing_record_and_a_folder_are_named(tmp_path):
    for path in (tmp_path / "record.json", tmp_path):
        with pytest.raises(ReproError, match="cannot be read"):
            read_record(path)


WRITE_OFTEN = """
import sys
from pathlib import Path
from repro.evaluation.records import read_record, write_record
path = Path(sys.argv[1])
record = read_record(path)
print(flush=True)
while True:
    for reason in ("One.", "Two."):
        write_record(record.model_copy(update={"accepted_because": reason}), path)
"""


def test_a_record_is_the_old_or_the_new_one_whenever_its_writer_is_killed(make_record, tmp_path):
    path = write_record(make_record({"mae": [0.1]}), tmp_path / "record.json")
    for pause in np.random.default_rng(0).uniform(0.0, 0.3, KILLS):
        command = [sys.executable, "-c", WRITE_OFTEN, path]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
            writer.stdout.readline()
            time.sleep(pause)
            writer.kill()
        assert read_record(path).accepted_because in ("", "One.", "Two.")


def test_no_flipped_byte_of_a_record_is_believed_or_ends_in_a_riddle(make_record, tmp_path):
    record = make_record({"mae": [0.1]}, curves={"real": {"0": {"loss": [0.2, 0.1]}}})
    path = write_record(record, tmp_path / "record.json")
    whole, draw = path.read_bytes(), np.random.default_rng(0)
    for position in draw.integers(0, len(whole), TRIES):
        altered = bytearray(whole)
        altered[position] ^= int(draw.integers(1, 256))
        path.write_bytes(altered)
        with contextlib.suppress(ReproError):
            assert read_record(path) == record
