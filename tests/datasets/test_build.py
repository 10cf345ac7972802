import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
from threadpoolctl import threadpool_info

from repro.datasets.build import (
    Parts,
    build,
    estimate_seconds,
)
from repro.datasets.spec import load_spec
from repro.datasets.store import Dataset, verify
from repro.errors import NotPossibleHere, ReproError

pytestmark = pytest.mark.slow

TINY_FILMS = {"n_layers": 4, "train": 20, "validation": 5, "test": 5}


def checksum(path):
    verify(path)
    return Dataset.open(path).checksum


def files(folder):
    return sorted(path.name for path in folder.glob("*.h5*"))


def test_one_and_two_workers_give_the_same_bytes(toy, tmp_path):
    spec = toy.resolve("tiny")
    one, two = (build(spec, tmp_path / f"{n}.h5", workers=n) for n in (1, 2))
    assert checksum(one) == checksum(two)
    assert one.read_bytes() == two.read_bytes()
    assert files(tmp_path) == ["1.h5", "2.h5"]


def test_shard_size_leaves_no_trace(toy_content, load_toy, tmp_path):
    checksums = set()
    for size in (1, 4, 100):
        toy_content["shard_size"] = size
        spec = load_toy(toy_content).resolve("tiny")
        checksums.add(checksum(build(spec, tmp_path / f"{size}.h5")))
    assert len(checksums) == 1


def test_seed_and_parameters_change_the_bytes(toy, tmp_path):
    specs = [toy.resolve("tiny"), toy.resolve("tiny", seed=1), toy.resolve("tiny", "wide")]
    paths = [build(spec, tmp_path / f"{i}.h5") for i, spec in enumerate(specs)]
    assert len({checksum(path) for path in paths}) == 3


def test_progress_counts_samples_up_to_all(toy, tmp_path):
    calls = []
    build(toy.resolve("tiny"), tmp_path / "a.h5", progress=lambda *call: calls.append(call))
    assert calls == [(0, 17), (5, 17), (10, 17), (15, 17), (17, 17)]


def test_folder_is_made_where_missing(toy, tmp_path):
    assert build(toy.resolve("tiny"), tmp_path / "new" / "folder" / "a.h5").is_file()


# ---- interruption

SCRIPT = """
import os, signal, sys
from multiprocessing import active_children
from repro.datasets.build import build
from repro.datasets.spec import load_function, load_spec

found = None

def kill_after_ten_samples(done, total):
    global found
    found = done if found is None else found
    if done >= found + 10 and sys.argv[2] == "kill":
        print(found, *(worker.pid for worker in active_children()), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    spec = load_spec("toy").resolve("small", overrides={"delay": 0.05})
    build(spec, sys.argv[1], workers=2, progress=kill_after_ten_samples)
    print(found)
"""


def run_script(tmp_path, generators_folder, ending):
    (tmp_path / "script.py").write_text(SCRIPT)
    path = os.pathsep.join([str(generators_folder), os.environ.get("PYTHONPATH", "")])
    process = subprocess.run(
        [sys.executable, tmp_path / "script.py", tmp_path / "killed.h5", ending],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        timeout=120,
    )
    found, *workers = map(int, process.stdout.split())
    return process.returncode, found, workers


def has_ended(pid):
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_build_killed_twice_equals_uninterrupted_build(toy, tmp_path, generators_folder):
    straight = build(toy.resolve("small", overrides={"delay": 0.05}), tmp_path / "straight.h5")
    kept = []
    for _ in range(2):
        status, found, workers = run_script(tmp_path, generators_folder, "kill")
        assert status == -signal.SIGKILL
        assert files(tmp_path) == ["killed.h5.parts", "straight.h5"]
        assert len(workers) == 2
        kept.append(found)
    status, found, _ = run_script(tmp_path, generators_folder, "finish")
    assert status == 0
    assert 0 == kept[0] < kept[1] < found, "a build did not go on where it stopped"
    assert checksum(tmp_path / "killed.h5") == checksum(straight)
    assert (tmp_path / "killed.h5").read_bytes() == straight.read_bytes()
    assert files(tmp_path) == ["killed.h5", "straight.h5"]
    assert all(map(has_ended, workers)), "workers outlive a killed build"


def stop_at(n):
    def progress(done, total):
        if done >= n:
            raise KeyboardInterrupt

    return progress


@pytest.fixture
def half_built(toy, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        build(toy.resolve("tiny"), tmp_path / "a.h5", progress=stop_at(10))
    return tmp_path / "a.h5"


def test_interrupted_build_goes_on(toy, half_built, tmp_path):
    assert files(tmp_path) == ["a.h5.parts"]
    calls = []
    build(toy.resolve("tiny"), half_built, progress=lambda done, _: calls.append(done))
    assert calls == [10, 15, 17]
    assert checksum(half_built) == checksum(build(toy.resolve("tiny"), tmp_path / "b.h5"))


SLOW = """
import signal, sys
from repro.datasets.build import build
from repro.datasets.spec import load_spec
if __name__ == "__main__":
    # Ignored in what a shell runs in the background, as these tests may be.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    spec = load_spec("toy").resolve("small", overrides={"delay": 20.0})
    print("ready", flush=True)
    build(spec, sys.argv[1], workers=2)
"""


@pytest.mark.parametrize("pause", [0.0, 0.05, 0.3])
def test_ctrl_c_pressed_twice_ends_a_build_and_its_workers(tmp_path, toy, generators_folder, pause):
    # The second one broke the waiting for the workers, and nobody ended them: it hung.
    (tmp_path / "slow.py").write_text(SLOW)
    path = os.pathsep.join([str(generators_folder), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, tmp_path / "slow.py", tmp_path / "a.h5"]
    variables = {**os.environ, "PYTHONPATH": path}
    with subprocess.Popen(
        command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as ran:  # fmt: skip
        ran.stdout.readline()
        while len(workers := psutil.Process(ran.pid).children(recursive=True)) < 3:
            time.sleep(0.05)
        time.sleep(1.0)
        os.killpg(ran.pid, signal.SIGINT)
        time.sleep(pause)
        os.killpg(ran.pid, signal.SIGINT)
        try:
            assert ran.wait(timeout=10) != 0
        finally:
            ran.kill()
    time.sleep(0.5)
    assert all(has_ended(worker.pid) for worker in workers)


def test_a_refused_build_leaves_nothing(toy, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 0))
    with pytest.raises(ReproError, match=r"0\.00 GB free"):
        build(toy.resolve("tiny"), tmp_path / "a.h5")
    assert not files(tmp_path)


def test_interrupted_workers_stop_soon(toy, tmp_path):
    spec = toy.resolve("small", overrides={"delay": 0.2})
    with pytest.raises(KeyboardInterrupt):
        build(spec, tmp_path / "a.h5", workers=2, progress=stop_at(5))
    assert len(list((tmp_path / "a.h5.parts").glob("shard-*.npz"))) < 8


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty"])
def test_damaged_shard_is_made_again(toy, half_built, tmp_path, damage):
    shard = half_built.with_name("a.h5.parts") / "shard-000000005.npz"
    content = bytearray(shard.read_bytes())
    content[150] ^= 1
    keep = {"truncate": 300, "flip": len(content), "empty": 0}[damage]
    shard.write_bytes(content[:keep])
    build(toy.resolve("tiny"), half_built)
    assert checksum(half_built) == checksum(build(toy.resolve("tiny"), tmp_path / "b.h5"))


def test_parts_of_another_data_set_are_refused_and_kept(toy, half_built):
    parts = half_built.with_name("a.h5.parts")
    before = files(half_built.parent), sorted(parts.glob("shard-*"))
    with pytest.raises(ReproError, match="parts of another data set with fingerprint"):
        build(toy.resolve("tiny", seed=1), half_built)
    assert before == (files(half_built.parent), sorted(parts.glob("shard-*")))


def test_parts_of_another_shard_size_are_refused(toy_content, load_toy, half_built):
    toy_content["shard_size"] = 6
    with pytest.raises(ReproError, match=r"shard_size = 5, not 6"):
        build(load_toy(toy_content).resolve("tiny"), half_built)


def test_parts_of_an_older_generator_are_refused(toy, half_built):
    manifest = half_built.with_name("a.h5.parts") / "manifest.json"
    older = json.loads(manifest.read_text()) | {"generator_source": "0" * 64}
    manifest.write_text(json.dumps(older))
    with pytest.raises(ReproError, match="generator_source = 0000"):
        build(toy.resolve("tiny"), half_built)


def test_parts_without_a_shard_give_way_to_another_data_set(toy, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        build(toy.resolve("tiny"), tmp_path / "a.h5", progress=stop_at(0))
    build(toy.resolve("tiny", seed=1), tmp_path / "a.h5")
    assert files(tmp_path) == ["a.h5"]


def test_foreign_folder_in_the_place_of_parts_is_left_alone(toy, tmp_path):
    parts = tmp_path / "a.h5.parts"
    parts.mkdir()
    (parts / "thesis.txt").write_text("precious")
    build(toy.resolve("tiny"), tmp_path / "a.h5")
    assert [path.name for path in parts.iterdir()] == ["thesis.txt"]


def test_two_builds_of_one_file_do_not_mix(toy, tmp_path):
    spec = toy.resolve("tiny")

    def build_again(done, total):
        build(spec, tmp_path / "a.h5")

    with pytest.raises(ReproError, match=r"Another process is building a\.h5"):
        build(spec, tmp_path / "a.h5", progress=build_again)


# ---- what exists


def test_finished_data_set_is_returned_untouched(toy, tmp_path):
    spec, calls = toy.resolve("tiny"), []
    path = build(spec, tmp_path / "a.h5")
    before = path.read_bytes(), path.stat().st_mtime_ns
    assert build(spec, path, progress=lambda *call: calls.append(call)) == path
    assert before == (path.read_bytes(), path.stat().st_mtime_ns)
    assert calls == []


def test_leftovers_of_a_build_killed_at_the_very_end_are_removed(toy, half_built, tmp_path):
    build(toy.resolve("tiny"), tmp_path / "b.h5").rename(half_built)
    build(toy.resolve("tiny"), half_built)
    assert files(tmp_path) == ["a.h5"]


def test_another_data_set_is_never_overwritten(toy, tmp_path):
    path = build(toy.resolve("tiny"), tmp_path / "a.h5")
    before = path.read_bytes()
    with pytest.raises(ReproError, match="holds another data set and is never overwritten"):
        build(toy.resolve("tiny", seed=1), path)
    assert path.read_bytes() == before
    assert files(tmp_path) == ["a.h5"]


@pytest.mark.parametrize("content", ["notes", ""])
def test_other_files_are_never_overwritten(toy, tmp_path, content):
    (tmp_path / "a.h5").write_text(content)
    with pytest.raises(ReproError, match="is no HDF5 file"):
        build(toy.resolve("tiny"), tmp_path / "a.h5")
    assert (tmp_path / "a.h5").read_text() == content


def test_damaged_data_set_is_refused(toy, tmp_path):
    path = build(toy.resolve("tiny"), tmp_path / "a.h5")
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(ReproError, match="damaged: truncated"):
        build(toy.resolve("tiny"), path)


def test_folder_that_cannot_be_made_is_named(toy, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ReproError, match="cannot be written"):
        build(toy.resolve("tiny"), tmp_path / "file" / "a.h5")


@pytest.mark.parametrize("workers", [0, -1])
def test_no_workers_build_nothing(toy, tmp_path, workers):
    with pytest.raises(ReproError, match="at least one worker"):
        build(toy.resolve("tiny"), tmp_path / "a.h5", workers=workers)


# ---- the generator


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("nan", "samples 10 to 15, gives a number that is not finite: 'level', row 3"),
        ("shape", r"gives 'x' as float32 \(5, 3\), but data spec 'toy' says float32 \(5, 4\)"),
        ("dtype", r"gives 'x' as float64 \(5, 4\), but data spec 'toy' says float32"),
        ("short", r"gives 'x' as float32 \(4, 4\)"),
        ("missing", "gives the variables constant, level, x, but"),
        ("extra", "gives the variables .*surplus"),
        ("refuse", "The generator refuses these parameters"),
    ],
)
def test_faults_of_the_generator_are_named(toy, tmp_path, fault, message):
    with pytest.raises(ReproError, match=message):
        build(toy.resolve("tiny", overrides={"fault": fault}), tmp_path / "a.h5")
    assert not (tmp_path / "a.h5").exists()


def test_faults_of_the_generator_come_through_from_workers(toy, tmp_path):
    with pytest.raises(ReproError, match="not finite: 'level', row 3"):
        build(toy.resolve("tiny", overrides={"fault": "nan"}), tmp_path / "a.h5", workers=2)


@pytest.mark.parametrize("generator", ["toy_generators:letters", "toy_factory:numbers"])
def test_missing_generator_is_named(toy_content, load_toy, tmp_path, generator):
    toy_content["generator"] = generator
    with pytest.raises(ReproError, match=f"no function '{generator}'"):
        build(load_toy(toy_content).resolve("tiny"), tmp_path / "a.h5")
    assert not files(tmp_path)


def test_generator_runs_on_one_thread(toy, tmp_path, monkeypatch):
    import toy_generators

    threads, numbers = [], toy_generators.numbers

    def watched(*arguments):
        threads.extend(library["num_threads"] for library in threadpool_info())
        return numbers(*arguments)

    monkeypatch.setattr(toy_generators, "numbers", watched)
    watched.__module__ = "toy_generators"
    build(toy.resolve("tiny"), tmp_path / "a.h5")
    assert set(threads) == {1}


# ---- the disk


def test_too_small_a_disk_is_refused_at_once(toy, small_disk):
    spec, calls = toy.resolve("tiny", overrides={"width": 20000}), []
    with pytest.raises(ReproError, match=r"GB free, but the build needs .*: make room"):
        build(spec, small_disk / "a.h5", progress=lambda *call: calls.append(call))
    assert calls == []


def test_disk_that_fills_up_costs_nothing_finished(toy, small_disk, tmp_path):
    spec, ballast = toy.resolve("tiny", overrides={"width": 1500}), small_disk / "ballast"

    def fill(done, total):
        if done == 5:
            with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(4096))

    with pytest.raises(ReproError, match="The disk is full while writing"):
        build(spec, small_disk / "a.h5", progress=fill)
    ballast.unlink()
    assert len(list((small_disk / "a.h5.parts").iterdir())) == 3  # a shard, manifest, lock
    calls = []
    build(spec, small_disk / "a.h5", progress=lambda done, _: calls.append(done))
    assert calls[0] == 5
    assert checksum(small_disk / "a.h5") == checksum(build(spec, tmp_path / "a.h5"))


# ---- how long it will take


@pytest.fixture
def timed(toy, monkeypatch):
    """A data set whose generator says that a sample takes two seconds."""
    import toy_generators

    monkeypatch.setattr(
        toy_generators, "seconds_per_sample", lambda parameters, workers: 2 / workers, raising=False
    )
    trial = "toy_generators:seconds_per_sample"
    return toy.resolve("tiny").model_copy(update={"seconds_per_sample": trial})


def test_no_time_is_told_of_a_generator_that_cannot_tell(toy, tmp_path):
    assert estimate_seconds(toy.resolve("tiny"), tmp_path / "a.h5") is None


def test_no_time_is_told_of_a_data_set_that_is_there(timed, tmp_path):
    assert estimate_seconds(timed, build(timed, tmp_path / "a.h5")) is None


def test_the_time_is_that_of_all_samples_shared_by_the_workers(timed, tmp_path):
    seconds = [estimate_seconds(timed, tmp_path / "a.h5", workers) for workers in (1, 2, 1000)]
    assert seconds == [34, 17, 2]


def test_the_time_falls_as_shards_are_done_and_nothing_is_touched(timed, half_built):
    before = files(half_built.parent)
    assert estimate_seconds(timed, half_built) == 2 * 7
    assert files(half_built.parent) == before


def test_the_trial_runs_on_one_thread_with_the_parameters_of_the_spec(timed, tmp_path, monkeypatch):
    import toy_generators

    given, threads = [], []

    def trial(parameters, workers):
        given.append((parameters, workers))
        threads.extend(library["num_threads"] for library in threadpool_info())
        return 1.0

    monkeypatch.setattr(toy_generators, "seconds_per_sample", trial)
    estimate_seconds(timed, tmp_path / "a.h5", 3)
    assert given == [(dict(timed.parameters), 3)]
    assert set(threads) == {1}


# ---- the films of the first study


def test_films_do_not_depend_on_shards(tmp_path):
    overrides = {**TINY_FILMS, "n_layers": 5, "n_layers_varied": 1, "rough": True}
    spec = load_spec("mamba").resolve("smoke", overrides=overrides)
    whole = build(spec, tmp_path / "whole.h5")
    sharded = spec.model_copy(update={"shard_size": 7})
    assert checksum(build(sharded, tmp_path / "sharded.h5")) == checksum(whole)


def test_film_keeps_its_number_in_a_larger_data_set(tmp_path):
    spec = load_spec("mamba").resolve("smoke", overrides=TINY_FILMS)
    larger = load_spec("mamba").resolve("smoke", overrides={**TINY_FILMS, "train": 40})
    few, many = (Dataset.open(build(s, tmp_path / f"{s.n_samples}.h5")) for s in (spec, larger))
    for name in few.names:
        np.testing.assert_array_equal(few.array(name), many.array(name)[:30])


def test_published_log_intensity_statistics_are_met(tmp_path):
    overrides = {"train": 400, "validation": 0, "test": 0}
    for experiment, mean, deviation in [
        ("layers_12", 6.37676816, 1.98297491),
        ("rough_fixed", 6.07554680, 2.07982516),
    ]:
        spec = load_spec("mamba").resolve("smoke", experiment, overrides)
        dataset = Dataset.open(build(spec, tmp_path / f"{experiment}.h5"))
        got = dataset.statistics("log_intensity")
        spread = dataset.array("log_intensity").mean(axis=(1, 2), dtype=np.float64).std()
        assert abs(got[0] - mean) < 4 * spread / np.sqrt(400)
        assert abs(got[1] / deviation - 1) < 0.01


def test_parts_count_every_sample_once(toy):
    parts = Parts(None, toy.resolve("tiny"))
    assert [parts.count(start) for start in parts.starts] == [5, 5, 5, 2]


# ---- sizes that nothing can hold


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"train": "9" * 20}, "samples takes"), ({"width": "9" * 15}, "takes|take")],
)
@pytest.mark.parametrize("ask", [build, estimate_seconds])
def test_a_size_that_no_disk_holds_is_said_and_refused_at_once(toy, tmp_path, ask, settings, said):
    # To list the shards of so many samples took for ever.
    spec = toy.resolve("tiny", overrides=settings)
    spec = spec.model_copy(update={"seconds_per_sample": "toy_generators:numbers"})
    with pytest.raises(ReproError, match=said):
        ask(spec, tmp_path / "a.h5")
    assert not files(tmp_path)


def test_a_generator_that_asks_for_more_memory_than_there_is_ends_in_a_sentence(
    toy_content, load_toy, tmp_path, monkeypatch
):
    # It took 22.5 GB, and the system killed it.
    (tmp_path / "hungry_generators.py").write_text(
        "import numpy as np\ndef numbers(*arguments):\n    return np.empty(2**44, np.uint8)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    toy_content["generator"] = "hungry_generators:numbers"
    with pytest.raises(NotPossibleHere, match="memory of this machine is too small"):
        build(load_toy(toy_content).resolve("tiny"), tmp_path / "a.h5")


@pytest.mark.parametrize("name", ["os:system", "numpy:zeros", "subprocess:run"])
def test_only_a_studys_own_functions_are_called(toy_content, load_toy, tmp_path, name):
    toy_content["generator"] = name
    with pytest.raises(ReproError, match="no study's"):
        build(load_toy(toy_content).resolve("tiny"), tmp_path / "a.h5")
    assert not files(tmp_path)
