"""A run's folder cut into parts, carried through a channel that limits sizes, and put together."""

from __future__ import annotations

import json
import os
import shutil
import subprocess

import pytest
from typer.testing import CliRunner

from repro import cli
from repro.errors import ReproError
from repro.files import exclusive, sha256
from repro.runs.parts import MANIFEST, pack, unpack

RUN_FILE = {
    "choices": {"study": "springs"},
    "seed": 0,
    "recipes": {},
    "data": {"name": "springs", "version": 1, "fingerprint": "f", "checksum": "c"},
}
SMALL_MB = 0.1


@pytest.fixture
def run(tmp_path):
    """A folder that looks like a run with one training done and one under way."""
    folder = tmp_path / "run"
    for name, size in {
        "data.h5": 500_000,
        "data.h5.parts/shard-000000000.npz": 1000,
        "seed-0/networks/done/state.npz": 400_000,
        "seed-0/networks/done/best.weights.h5": 30_000,
        "seed-0/networks/done/done.json": 10,
        "seed-0/networks/under_way/state.npz": 250_000,
        "seed-0/networks/under_way/history.csv": 40,
        "seed-0/networks/under_way/state.npz.partial": 40,
        "seed-0/networks/under_way/.lock": 0,
    }.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(size))
    (folder / "seed-0" / "run.json").write_text(json.dumps(RUN_FILE))
    return folder


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): sha256(path)
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_what_a_run_needs_comes_through_in_parts_and_the_rest_stays_behind(run, tmp_path):
    before = contents(run)
    written = pack(run, tmp_path / "parts", SMALL_MB)
    sizes = [path.stat().st_size for path in written]
    assert len(written) > 3
    assert max(sizes) <= SMALL_MB * 1e6
    assert unpack(tmp_path / "parts", tmp_path / "elsewhere" / "run").is_dir()
    came = contents(tmp_path / "elsewhere" / "run")
    left = {name: digest for name, digest in before.items() if name not in came}
    assert came == {name: digest for name, digest in before.items() if name not in left}
    assert set(left) == {
        "data.h5",
        "data.h5.parts/shard-000000000.npz",
        "seed-0/networks/done/state.npz",
        "seed-0/networks/under_way/state.npz.partial",
        "seed-0/networks/under_way/.lock",
    }
    assert contents(run) == before, "the run was changed"


def test_the_data_set_comes_along_on_request(run, tmp_path):
    pack(run, tmp_path / "parts", with_data=True)
    unpack(tmp_path / "parts", tmp_path / "again")
    assert sha256(tmp_path / "again" / "data.h5") == sha256(run / "data.h5")


def test_the_parts_can_be_put_together_without_this_package(run, tmp_path):
    pack(run, tmp_path / "parts", SMALL_MB)
    (tmp_path / "by_hand").mkdir()
    command = "cat ../parts/run.tar.* | tar x"
    subprocess.run(command, shell=True, check=True, cwd=tmp_path / "by_hand")
    unpack(tmp_path / "parts", tmp_path / "by_us")
    assert contents(tmp_path / "by_hand") == contents(tmp_path / "by_us")


def lose(part):
    part.unlink()


def damage(part):
    content = bytearray(part.read_bytes())
    content[1000] ^= 1
    part.write_bytes(content)


def cut(part):
    part.write_bytes(part.read_bytes()[:-1])


@pytest.mark.parametrize("harm", [lose, damage, cut])
def test_a_part_that_is_not_whole_is_named_and_nothing_is_left(run, tmp_path, harm):
    pack(run, tmp_path / "parts", SMALL_MB)
    harm(tmp_path / "parts" / "run.tar.001")
    with pytest.raises(ReproError, match=r"run\.tar\.001 is .*carry it over again"):
        unpack(tmp_path / "parts", tmp_path / "again")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["parts", "run"]


def test_nothing_is_overwritten(run, tmp_path):
    pack(run, tmp_path / "parts")
    before = contents(tmp_path)
    with pytest.raises(ReproError, match="parts is there already"):
        pack(run, tmp_path / "parts")
    with pytest.raises(ReproError, match="run is there already"):
        unpack(tmp_path / "parts", run)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("content", ["{", "{}", '{"format_version": 2}'])
def test_a_folder_without_a_sound_manifest_is_refused(run, tmp_path, content):
    pack(run, tmp_path / "parts")
    (tmp_path / "parts" / MANIFEST).write_text(content)
    with pytest.raises(ReproError, match=r"manifest\.json is damaged"):
        unpack(tmp_path / "parts", tmp_path / "again")


def test_a_run_that_is_being_trained_is_not_packed(run, tmp_path):
    lock = run / "seed-0" / "networks" / "under_way" / ".lock"
    with exclusive(lock, "training"), pytest.raises(ReproError, match="Another process is train"):
        pack(run, tmp_path / "parts")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


def test_a_full_disk_leaves_no_half_of_the_parts(run, tmp_path, monkeypatch):
    def fail(*arguments, **keywords):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tarfile.TarFile.add", fail)
    with pytest.raises(ReproError, match="No space left"):
        pack(run, tmp_path / "parts")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


def test_the_commands_pack_and_unpack(run, tmp_path):
    parts, again = tmp_path / "parts", tmp_path / "again"
    packed = CliRunner().invoke(cli.app, ["pack", str(run), "--out", str(parts), "--parts", "0.1"])
    assert packed.exit_code == 0, packed.stderr
    names = sorted(path.name for path in parts.iterdir())
    assert packed.stdout.split() == [str(parts / name) for name in [*names[1:], names[0]]]
    shutil.rmtree(run)
    unpacked = CliRunner().invoke(cli.app, ["unpack", str(parts), "--out", str(again)])
    assert (unpacked.exit_code, unpacked.stdout) == (0, f"{again}\n")
    refused = CliRunner().invoke(cli.app, ["pack", str(tmp_path), "--out", str(tmp_path / "x")])
    assert refused.exit_code == 2
    assert "holds no run" in refused.stderr
