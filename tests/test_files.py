import errno
from pathlib import Path

import pytest

from repro.errors import ReproError
from repro.files import check_same, exclusive, read_json, replacing, write_text


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

    def fails(*_):
        raise OSError(errno.EACCES, "Permission denied", str(path.with_name("a.txt.partial")))

    monkeypatch.setattr("pathlib.Path.replace", fails)
    with pytest.raises(ReproError, match=r"a\.txt cannot be written \(Permission denied\)"):
        write_text(path, "other")
    assert path.read_bytes() == "µ".encode()
    assert [file.name for file in path.parent.iterdir()] == ["a.txt"]


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
