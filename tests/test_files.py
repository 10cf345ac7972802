import contextlib
import errno
import multiprocessing
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from repro import files
from repro.errors import NotPossibleHere, ReproError
from repro.files import (
    changing_folder,
    check_same,
    exclusive,
    new_folder,
    parse_yaml,
    read_json,
    replacing,
    write_text,
)


def test_a_full_disk_is_named_and_what_stood_there_is_kept(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("precious")

    def write():
        with replacing(target) as partial:
            partial.write_text("new")
            Path("/dev/full").write_text("no room")

    with pytest.raises(ReproError, match="The disk is full while writing"):
        write()
    assert target.read_text() == "precious"
    assert list(tmp_path.glob("a.txt*")) == [target]


def test_other_faults_of_the_system_are_not_hidden(tmp_path):
    with pytest.raises(OSError, match="Is a directory") as error, replacing(tmp_path / "a.txt"):
        tmp_path.read_text()
    assert error.value.errno == errno.EISDIR


def test_a_text_is_whole_or_not_there_and_its_folder_is_made(tmp_path, monkeypatch):
    path = tmp_path / "new" / "a.txt"
    write_text(path, "µ")
    assert path.read_bytes() == "µ".encode()

    def fails(partial, _):
        raise OSError(errno.EACCES, "Permission denied", str(partial))

    monkeypatch.setattr("pathlib.Path.replace", fails)
    with pytest.raises(ReproError, match=r"a\.txt cannot be written \(Permission denied\)"):
        write_text(path, "other")
    assert path.read_bytes() == "µ".encode()
    assert [file.name for file in path.parent.iterdir()] == ["a.txt"]


def write_often(path, letter):
    for _ in range(100):
        write_text(path, letter * 50_000)


def test_of_two_writers_one_wins_and_nobody_reads_a_mixture(tmp_path):
    # Under one temporary name they wrote into each other's file, or took it away.
    path = tmp_path / "a.txt"
    spawn = multiprocessing.get_context("spawn")
    writers = [spawn.Process(target=write_often, args=(path, letter)) for letter in "ab"]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        if path.exists():
            text = path.read_text()
            assert set(text) in ({"a"}, {"b"})
            assert len(text) == 50_000
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


KILLED = """
import sys, time
from pathlib import Path
from repro import files
with getattr(files, sys.argv[1])(Path(sys.argv[2])) as partial:
    (partial / "half" if partial.is_dir() else partial).write_text("half")
    print(flush=True)
    time.sleep(60)
"""


@contextlib.contextmanager
def being_written(way, path):
    """Let another process begin to write; it is killed at the end, if not before."""
    command = [sys.executable, "-c", KILLED, way, path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        yield process
        process.kill()


@pytest.mark.parametrize("way", ["replacing", "new_folder", "changing_folder"])
def test_what_a_killed_writer_left_goes_and_what_a_living_one_writes_stays(tmp_path, way):
    path = tmp_path / "a"
    if way == "changing_folder":
        path.mkdir()
        (path / "whole").write_text("")
    with being_written(way, path), being_written(way, path) as killed:
        killed.kill()
        killed.wait()
        assert len(list(tmp_path.glob(".a.*.partial"))) == 2
        with getattr(files, way)(path) as partial:
            left = set(tmp_path.glob(".a.*.partial")) - {partial}
            (partial / "new" if partial.is_dir() else partial).write_text("new")
    assert len(left) == 1, "one was written by a process that is alive"


def test_a_folder_that_is_none_of_ours_is_never_removed(tmp_path):
    # The folder of another name was taken for a leftover, and deleted with all that it held.
    (tmp_path / "a.partial").mkdir()
    (tmp_path / "a.partial" / "precious").write_text("")
    with new_folder(tmp_path / "a"):
        pass
    assert (tmp_path / "a.partial" / "precious").exists()


CHANGER = """
import sys
from pathlib import Path
from repro.files import changing_folder, write_text
folder = Path(sys.argv[1])
letter = "a"
while True:
    letter = "b" if letter == "a" else "a"
    with changing_folder(folder) as partial:
        for name in range(5):
            write_text(partial / str(name), letter)
"""


def test_a_folder_is_changed_at_once_or_not_at_all_whenever_it_is_killed(tmp_path):
    folder = tmp_path / "a"
    folder.mkdir()
    for name in range(5):
        (folder / str(name)).write_text("a")
    for wait in (0.0, 0.01, 0.03, 0.1):
        changer = subprocess.Popen([sys.executable, "-c", CHANGER, folder])
        time.sleep(0.5 + wait)
        changer.send_signal(signal.SIGKILL)
        changer.wait()
        assert {file.name for file in folder.iterdir()} == set("01234")
        assert len({file.read_text() for file in folder.iterdir()}) == 1


def test_a_folder_is_changed_where_the_system_cannot_exchange_two(tmp_path, monkeypatch):
    monkeypatch.setattr("ctypes.CDLL", lambda *_, **__: object())
    write_text(tmp_path / "a" / "old", "old")
    with changing_folder(tmp_path / "a") as partial:
        write_text(partial / "old", "new")
    assert (tmp_path / "a" / "old").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_folder_stays_as_it_is_if_its_change_fails(tmp_path):
    write_text(tmp_path / "a" / "old", "old")

    def change():
        with changing_folder(tmp_path / "a") as partial:
            write_text(partial / "old", "new")
            raise ReproError("no")

    with pytest.raises(ReproError, match="no"):
        change()
    assert (tmp_path / "a" / "old").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("write", [lambda path: write_text(path, ""), lambda path: lock(path)])
def test_a_folder_that_cannot_be_made_is_one_clear_sentence(tmp_path, write):
    (tmp_path / "file").write_text("")
    with pytest.raises(ReproError, match=r"file/in cannot be written \(Not a directory\)"):
        write(tmp_path / "file" / "in" / "a.txt")


def lock(path):
    with exclusive(path, "at work"):
        pass


def test_what_one_process_works_on_no_other_can_have(tmp_path):
    busy = pytest.raises(ReproError, match="Another process is at work")
    with exclusive(tmp_path / "lock", "training in a"), busy:
        lock(tmp_path / "lock")
    lock(tmp_path / "lock")


def test_a_missing_and_a_damaged_file_are_told_apart_with_what_to_do(tmp_path):
    path = tmp_path / "a.json"
    with pytest.raises(ReproError, match=r"a\.json cannot be read .*: train again\."):
        read_json(path, "train again")
    path.write_text('{"recipe"')
    with pytest.raises(ReproError, match=r"a\.json is damaged .*: train again\."):
        read_json(path, "train again")


@pytest.mark.parametrize(
    "text", ['{"a": 1, "a": 2}', '{"a": NaN}', "[" * 100_000, '{"b": 1}', "[]", "1" * 5000]
)
def test_json_that_python_reads_one_way_or_another_is_refused(tmp_path, text):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(ReproError, match=r"a\.json is damaged .*: train again\."):
        read_json(path, "train again", needed=("a",))


LAUGHS = "\n".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9))


@pytest.mark.parametrize(
    "text",
    [
        "reported: 1\nreported: 2",
        "a: {b: 1, b: 2}",
        "year: 2026-13-45",
        "{[1]: 2}: 3",
        "[" * 5000,
        f"a0: &a0 x\n{LAUGHS}",
        "a: &a [*a]",
        "a: !!python/object/apply:os.system [true]",
        "a: \x00",
    ],
    ids=range(9),
)
def test_yaml_that_is_not_plain_is_refused_in_a_line(text):
    with pytest.raises(ValueError, match=r"^.+$"):
        parse_yaml(text)


def test_yaml_may_refer_to_what_stands_before():
    assert parse_yaml("a: &a {x: 1}\nb: {<<: *a, y: 2}")["b"] == {"x": 1, "y": 2}


def test_equal_settings_pass_whether_absent_or_null_tuple_or_list():
    check_same("it is there", {"a": {"b": [1, 2]}}, {"a": {"b": (1, 2), "c": None}}, "stop")


def test_every_entry_that_differs_is_named_and_both_values_of_the_first():
    theirs = {"recipe": {"epochs": 3, "loss": "mae"}, "seed": 1, "data": "f" * 64}
    ours = {"recipe": {"epochs": 4, "loss": "mae", "new": 1}, "seed": 2, "data": "0" * 64}
    with pytest.raises(ReproError) as error:
        check_same("a holds a run", theirs, ours, "choose another folder")
    assert str(error.value) == (
        f"a holds a run with data = {'f' * 39}…, not {'0' * 39}…; recipe.epochs, recipe.new, seed "
        "differ too: choose another folder."
    )


def test_a_long_list_of_differences_is_cut_short():
    ours = {str(i): i for i in range(9)}
    with pytest.raises(ReproError, match="0 = None, not 0; 1, 2, 3, 4 and 4 more differ too"):
        check_same("a", {}, ours, "stop")


def test_a_user_without_a_home_gets_no_folder_of_the_name_of_a_home(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert files.cache_folder() == tmp_path / "repro"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("os.path.expanduser", lambda path: path)  # as without an entry in passwd
    with pytest.raises(NotPossibleHere, match="XDG_CACHE_HOME"):
        files.cache_folder()
