"""Building on a dask cluster of real processes, on the loopback only."""

from __future__ import annotations

import contextlib
import json
import operator
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_info
from typer.testing import CliRunner

import repro
from repro.cli import app
from repro.datasets import cluster
from repro.datasets.build import Parts, build
from repro.datasets.spec import load_spec
from repro.datasets.store import Dataset, verify
from repro.errors import NotPossibleHere, ReproError

pytestmark = pytest.mark.slow

NOBODY = "tcp://127.0.0.1:9"
FILMS = ["data", "build", "mamba", "--set", "train=3500"]  # eight shards
TINY_FILMS = {"n_layers": 4, "train": 20, "validation": 5, "test": 5}

GENERATORS = """
import os

import toy_generators


def numbers(start, stop, seed, parameters):
    with open(os.environ["CALLS"], "a") as file:
        print(start, file=file)
    if parameters["fault"] == "exit" and start == 10:
        os._exit(1)
    if parameters["fault"] == "bug" and start == 10:
        raise ZeroDivisionError("a bug")
    return toy_generators.numbers(start, stop, seed, parameters)
"""


# ---- the cluster


@contextlib.contextmanager
def started(module, folder, *arguments, path=""):
    """Run one of dask's programs; whatever it started is gone at the end."""
    process = subprocess.Popen(
        [
            sys.executable,
            "-P",
            "-m",
            f"distributed.cli.{module}",
            "--no-dashboard",
            *map(str, arguments),
        ],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(path), os.environ.get("PYTHONPATH", "")]),
            "OMP_NUM_THREADS": "2",
            "DASK_TEMPORARY_DIRECTORY": str(folder),
            "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1",
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextlib.contextmanager
def started_scheduler(folder):
    """Run a scheduler; give its process and its address."""
    file = folder / "scheduler.json"
    options = ("--host", "127.0.0.1", "--port", 0, "--scheduler-file", file)
    with started("dask_scheduler", folder, *options) as process:
        yield process, wait_for(lambda: json.loads(file.read_text())["address"])


def started_workers(address, folder, *options, path=""):
    common = (address, "--nthreads", 1, "--host", "127.0.0.1")
    return started("dask_worker", folder, *common, *options, path=path)


def wait_for(read, seconds=60):
    """Return what a function reads as soon as it can be read and is not empty."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, ValueError):
            if found := read():
                return found
        time.sleep(0.02)
    raise TimeoutError


@pytest.fixture(scope="module")
def folder(tmp_path_factory, generators_folder):
    """A folder with the generators and the list of the calls that workers got."""
    folder = tmp_path_factory.mktemp("cluster")
    shutil.copy(generators_folder / "toy_generators.py", folder)
    (folder / "watched_generators.py").write_text(GENERATORS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CALLS", str(folder / "calls"))
        yield folder


@pytest.fixture(scope="module")
def address(folder):
    """The address of a scheduler with two workers."""
    with (
        started_scheduler(folder) as (_, address),
        started_workers(address, folder, "--nworkers", 2, path=folder),
    ):
        yield address


@pytest.fixture(scope="module")
def lonely_address(tmp_path_factory):
    """The address of a scheduler without workers."""
    with started_scheduler(tmp_path_factory.mktemp("lonely")) as (_, address):
        yield address


@pytest.fixture
def calls(folder):
    """The first samples of the shards that workers were asked for, from now on."""
    file = folder / "calls"
    file.write_text("")
    return lambda: sorted(map(int, file.read_text().split()))


@pytest.fixture
def watched(toy_content, load_toy, folder, monkeypatch):
    """A toy whose generator writes down its calls."""
    monkeypatch.syspath_prepend(folder)
    toy_content["generator"] = "watched_generators:numbers"
    return load_toy(toy_content)


def on_all_workers(address, function, n=2):
    with cluster.connected(address) as client:
        client.wait_for_workers(n, timeout=60)
        return client.run(function)


def stop_at(n):
    def progress(done, total):
        if done >= n:
            raise KeyboardInterrupt

    return progress


def half_built(spec, out, **options):
    with pytest.raises(KeyboardInterrupt):
        build(spec, out, progress=stop_at(10), **options)
    return out


def shards(out):
    return sorted(out.with_name(out.name + ".parts").glob("shard-*.npz"))


# ---- the same data set


def test_a_cluster_gives_the_same_bytes_as_one_process(toy, address, tmp_path):
    spec = toy.resolve("tiny")
    here, there = build(spec, tmp_path / "a.h5"), tmp_path / "b.h5"
    progress = []
    build(spec, there, progress=lambda *call: progress.append(call), scheduler=address)
    verify(there)
    assert there.read_bytes() == here.read_bytes()
    assert progress[0] == (0, 17)
    assert progress[-1] == (17, 17)
    assert len(progress) == 5
    assert sorted(path.name for path in tmp_path.glob("*.h5*")) == ["a.h5", "b.h5"]


def test_the_films_of_the_first_study_are_the_same_on_a_cluster(address, tmp_path):
    spec = load_spec("mamba").resolve("smoke", "rough", overrides={"train": 20, "validation": 5})
    spec = spec.model_copy(update={"shard_size": 9})
    here, there = build(spec, tmp_path / "a.h5"), tmp_path / "b.h5"
    one, two = (Dataset.open(p) for p in (here, build(spec, there, scheduler=address)))
    for name in one.names:
        np.testing.assert_array_equal(one.array(name), two.array(name), strict=True)
    assert one.checksum == two.checksum


def test_workers_compute_on_one_thread_for_good(toy, folder, lonely_address, tmp_path):
    # A nanny would see to it already.
    with started_workers(lonely_address, tmp_path, "--no-nanny", path=folder):
        build(toy.resolve("small"), tmp_path / "a.h5", scheduler=lonely_address)
        (found,) = on_all_workers(lonely_address, threadpool_info, n=1).values()
    assert [library["num_threads"] for library in found if library["user_api"] == "blas"]
    assert {library["num_threads"] for library in found} == {1}


def test_few_shards_are_on_the_cluster_at_a_time(address):
    numbers, pending, alive = {i: (i, i) for i in range(100)}, [], []
    with cluster.connected(address) as client:
        found = {}
        for name, result in cluster.results(client, operator.add, numbers, "repro.seeds"):
            found[name] = result
            states = [future.status for future in list(client.futures.values())]
            pending.append(states.count("pending"))
            alive.append(len(states))
    assert found == {i: 2 * i for i in range(100)}
    assert max(pending) <= 4
    # The client lets go of a result with some delay.
    assert max(alive) <= 30, "the coordinator or the workers would fill their memory"


def test_a_half_built_data_set_costs_only_the_missing_shards(watched, address, calls, tmp_path):
    spec = watched.resolve("tiny")
    out = half_built(spec, tmp_path / "a.h5")
    assert calls() == [0, 5]
    progress = []
    build(spec, out, progress=lambda done, _: progress.append(done), scheduler=address)
    assert calls() == [0, 5, 10, 15]
    assert (progress[0], progress[-1]) == (10, 17)
    assert out.read_bytes() == build(spec, tmp_path / "b.h5").read_bytes()


def test_what_a_cluster_began_can_be_finished_here(toy, address, tmp_path):
    spec = toy.resolve("tiny")
    out = half_built(spec, tmp_path / "a.h5", scheduler=address)
    progress = []
    build(spec, out, progress=lambda done, _: progress.append(done))
    assert progress[0] in (10, 12), "shards come in any order, and the last has two samples"
    assert out.read_bytes() == build(spec, tmp_path / "b.h5").read_bytes()


def test_a_finished_data_set_needs_no_cluster(toy, tmp_path):
    spec = toy.resolve("tiny")
    out = build(spec, tmp_path / "a.h5")
    assert build(spec, out, scheduler=NOBODY) == out


# ---- the code of the workers


@pytest.mark.parametrize("package", ["numpy", "scipy"])
def test_workers_with_another_library_are_refused(toy, address, tmp_path, monkeypatch, package):
    monkeypatch.setattr(f"{package}.__version__", "0.1")
    with pytest.raises(ReproError, match=rf"might give other bytes .*\({package} differ\)"):
        build(toy.resolve("tiny"), tmp_path / "a.h5", scheduler=address)
    assert shards(tmp_path / "a.h5") == []


def assert_refused(address, tmp_path, elsewhere, message):
    """Build on a worker whose package is another one, in the folder `elsewhere`."""
    spec = load_spec("mamba").resolve("smoke")
    with (
        started_workers(address, tmp_path, "--no-nanny", path=elsewhere),
        pytest.raises(ReproError, match=message) as raised,
    ):
        build(spec, tmp_path / "a.h5", scheduler=address)
    assert raised.value.exit_status == 2
    assert shards(tmp_path / "a.h5") == []


@pytest.mark.parametrize("file", ["seeds.py", "studies/mamba/simulate.py"])
def test_workers_with_other_code_are_refused(lonely_address, tmp_path, file):
    package = shutil.copytree(Path(repro.__file__).parent, tmp_path / "elsewhere" / "repro")
    with (package / file).open("a") as source:
        source.write("\n\nSOMETHING = 1\n")
    message = r"^The worker tcp://\S+ might give other bytes .*\(code of repro differ\)"
    assert_refused(lonely_address, tmp_path, package.parent, message)


def test_workers_without_the_package_are_refused(lonely_address, tmp_path):
    package = tmp_path / "elsewhere" / "repro"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    message = r"^A worker cannot load the generator .*install this version of repro"
    assert_refused(lonely_address, tmp_path, package.parent, message)


def test_code_that_changed_after_it_was_loaded_does_not_count(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "lasting.py").write_text("x = 1\n")
    before = cluster.running_code("lasting")
    (tmp_path / "lasting.py").write_text("x = 2\n")
    assert cluster.running_code("lasting") == before, "it would vouch for code that does not run"


def test_line_ends_do_not_make_other_code(tmp_path, monkeypatch):
    codes = []
    for name, end in [("unix", "\n"), ("dos", "\r\n")]:
        (tmp_path / name / "same").mkdir(parents=True)
        (tmp_path / name / "same" / "module.py").write_bytes(f"x = 1{end}".encode())
        (tmp_path / name / "same" / "__init__.py").touch()
        with monkeypatch.context() as patch:
            patch.syspath_prepend(tmp_path / name)
            codes.append(cluster.running_code("same.module"))
    assert codes[0] == codes[1]


# ---- faults


@pytest.mark.parametrize("fault", ["nan", "refuse", "bug"])
def test_faults_of_the_generator_read_the_same_from_a_cluster(watched, address, tmp_path, fault):
    spec, told = watched.resolve("tiny", overrides={"fault": fault}), []
    for scheduler in (None, address):
        with pytest.raises((ReproError, ZeroDivisionError)) as raised:
            build(spec, tmp_path / f"{scheduler is None}.h5", scheduler=scheduler)
        told.append(repr(raised.value))
    assert told[0] == told[1]


def test_a_worker_killed_in_the_middle_costs_nothing(toy, address, tmp_path):
    spec = toy.resolve("small", overrides={"delay": 0.1})
    victim = next(iter(on_all_workers(address, os.getpid).values()))
    progress = []

    def kill_once(done, total):
        progress.append(done)
        if len(progress) == 4:
            os.kill(victim, signal.SIGKILL)

    build(spec, tmp_path / "a.h5", progress=kill_once, scheduler=address)
    assert progress == list(range(0, 151, 5))
    assert victim not in on_all_workers(address, os.getpid).values()
    undelayed = Dataset.open(build(toy.resolve("small"), tmp_path / "b.h5"))
    got = Dataset.open(tmp_path / "a.h5")
    for name in got.names:
        np.testing.assert_array_equal(got.array(name), undelayed.array(name))


def test_a_shard_that_ends_its_workers_ends_the_build(watched, address, tmp_path):
    spec = watched.resolve("tiny", overrides={"fault": "exit"})
    with pytest.raises(
        ReproError, match=r"^2 workers ended over the same shard.* is kept"
    ) as raised:
        build(spec, tmp_path / "a.h5", scheduler=address)
    assert raised.value.exit_status == 2


def test_a_lost_scheduler_costs_nothing_finished(toy, folder, tmp_path):
    spec = toy.resolve("small", overrides={"delay": 0.1})

    with (
        started_scheduler(tmp_path) as (process, address),
        started_workers(address, tmp_path, "--no-nanny", path=folder),
    ):

        def kill_scheduler(done, total):
            if done == 15:
                process.kill()

        with pytest.raises(NotPossibleHere, match=r"connection to the scheduler is lost.* is kept"):
            build(spec, tmp_path / "a.h5", progress=kill_scheduler, scheduler=address)
    assert len(shards(tmp_path / "a.h5")) >= 3
    parts = Parts(tmp_path / "a.h5.parts", spec)
    assert len(parts.missing()) == 30 - len(shards(tmp_path / "a.h5"))


def test_a_cluster_without_workers_is_told(toy, lonely_address, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "WORKER_SECONDS", 0.5)
    with pytest.raises(NotPossibleHere, match=r"has had no worker .* `dask worker`"):
        build(toy.resolve("tiny"), tmp_path / "a.h5", scheduler=lonely_address)


def test_an_address_where_nobody_answers_is_told(toy, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 1)
    with pytest.raises(NotPossibleHere, match=f"No dask scheduler answers at {NOBODY}"):
        build(toy.resolve("tiny"), tmp_path / "a.h5", scheduler=NOBODY)


def test_a_server_that_is_not_dasks_does_not_hold_the_build(toy, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        silent = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(NotPossibleHere, match="No dask scheduler answers"):
            build(toy.resolve("tiny"), tmp_path / "a.h5", scheduler=silent)


@pytest.mark.parametrize("answer", [b"HTTP/1.0 400 Bad Request\r\n\r\n" * 9, b"\0" * 64, b""])
def test_a_server_that_answers_in_another_tongue_is_told(toy, tmp_path, monkeypatch, answer):
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 3)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    with server.accept()[0] as visitor:
                        visitor.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(NotPossibleHere, match="No dask scheduler answers"):
            build(toy.resolve("tiny"), tmp_path / "a.h5", scheduler=address)
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)


def test_the_address_of_a_worker_is_told_from_the_schedulers(toy, address, tmp_path):
    worker = next(iter(on_all_workers(address, os.getpid)))
    with pytest.raises(ReproError, match="is a worker of dask: give the scheduler's address"):
        build(toy.resolve("tiny"), tmp_path / "a.h5", scheduler=worker)


@pytest.mark.parametrize(
    "text",
    ["", "localhost", "localhost:8786", "tcp://localhost", "tcp://:8786", "http://localhost:8787",
     "tcp://localhost:0", "tcp://localhost:65536", "tcp://localhost:8786/status", "tcp://a b:1"],
)  # fmt: skip
def test_a_malformed_address_is_refused(toy, tmp_path, text):
    with pytest.raises(ReproError, match=r"is no address .* tcp://HOST:PORT"):
        build(toy.resolve("tiny"), tmp_path / "new" / "a.h5", scheduler=text)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "text", ["tcp://node-01.cluster:8786", "tcp://[::1]:1", "tcp://10.0.0.1:65535"]
)
def test_a_sound_address_is_accepted(text):
    cluster.check_address(text)


def test_without_dask_the_extra_is_named(toy, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(NotPossibleHere, match=r"pip install 'repro\[cluster\]'"):
        build(toy.resolve("tiny"), tmp_path / "a.h5", scheduler=NOBODY)


# ---- the command


def command(*options, **settings):
    """Start `repro` in a folder of its own, as a user would."""
    return subprocess.Popen(
        [sys.executable, "-m", "repro", *map(str, options)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background jobs, and what they start, are deaf to Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        **settings,
    )


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_build_goes_on_with_the_same_command(address, tmp_path, ending):
    out = tmp_path / "data" / "films.h5"
    build_films = (*FILMS, "--out", out, "--quiet", "--json", "--scheduler", address)
    with command(*build_films) as stopped:
        wait_for(lambda: shards(out))
        stopped.send_signal(ending)
        _, told = stopped.communicate(timeout=60)
    if ending == signal.SIGINT:
        assert stopped.returncode == 130
        assert told == "stopped: give the same command again to go on from here.\n"
    assert 0 < len(shards(out)) < 8
    kept = {path: path.stat().st_mtime_ns for path in shards(out)[:1]}
    assert kept

    (tmp_path / "empty").mkdir()
    with command(*build_films, cwd=tmp_path / "empty") as finished:
        facts, told = finished.communicate(timeout=120)
    assert (finished.returncode, told) == (0, "")
    assert list((tmp_path / "empty").iterdir()) == []
    assert [path.name for path in out.parent.iterdir()] == ["films.h5"]
    here = CliRunner().invoke(app, [*FILMS, "--out", str(tmp_path / "b.h5"), "-q", "--json"])
    assert json.loads(facts)["checksum"] == json.loads(here.stdout)["checksum"]


@pytest.mark.parametrize(
    ("options", "status", "reason"),
    [
        (["--scheduler", NOBODY, "--workers", "2"], 2, "leave out either --workers or --scheduler"),
        (["--scheduler", "localhost:8786"], 2, "'localhost:8786' is no address"),
        (["--scheduler", NOBODY], 3, "No dask scheduler answers"),
    ],
)
def test_the_command_refuses_in_one_sentence(tmp_path, monkeypatch, options, status, reason):
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 1)
    out = tmp_path / "new" / "films.h5"
    told = CliRunner().invoke(app, [*FILMS, "--out", str(out), "--quiet", *options])
    assert told.exit_code == status
    (line,) = told.stderr.splitlines()
    assert line.startswith("error: ")
    assert reason in line
    assert (tmp_path / "new").exists() == (status == 3)
