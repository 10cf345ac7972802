import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from repro.errors import ReproError
from repro.training.fit import load_model
from repro.training.state import load_state
from repro.training.world import ALONE

HERE = Path(__file__).parent


def module(name):
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


launch, small = module("launch"), module("train_together")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("horovod") is None, reason="Horovod is missing: make horovod"
    ),
]

EXACT = {
    "plain": {},
    "dropout": {"dropout": 0.3},
    "clipped": {"clip_norm": 0.5, "optimizer": "sgd"},
    "renewed": {"renewed": True, "rate_by_epoch": {"kind": "adaptive"}, "keep": "best_training"},
}
# With how far the losses may lie apart, relative: what the format of the numbers costs.
ROUNDED = {
    "bfloat16": ({"precision": "mixed_bfloat16"}, 0.02),
    "float16": ({"precision": "mixed_float16"}, 0.002),
    "sent_as_float16": ({"compression": "float16"}, 0.002),
    "sent_as_bfloat16": ({"compression": "bfloat16"}, 0.02),
}
ALL = EXACT | {name: case for name, (case, _) in ROUNDED.items()}
ONCE = {"plain": {}}
N_STEPS = 20
DISCOVERY = "#!/bin/sh\necho localhost:1\necho 127.0.0.1:1\n"


def weights_of(path):
    with np.load(path) as arrays:
        return [arrays[name] for name in arrays.files]


def difference(weights, others):
    """Return the largest relative difference between two networks, layer by layer."""
    return max(
        np.abs(one - other).max() / np.abs(one).max()
        for one, other in zip(weights, others, strict=True)
    )


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The course of one process, by case: weights and history."""
    folder = tmp_path_factory.mktemp("alone")
    trained = {}
    for name, case in {**ALL, "linear": {"batch_size": 32, "learning_rate": 0.02}}.items():
        model, history = small.train(folder / name, case, ALONE, None, 0)
        trained[name] = model.get_weights(), history
    return trained


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """The folder of two workers that horovodrun started, for all cases."""
    folder = tmp_path_factory.mktemp("pair")
    cases = {**ALL, "linear": {"scaling": "linear"}, "normalised": {"normalised": True}}
    options = {"folder": str(folder), "cases": cases}
    timeline = folder / "timeline.json"
    command = launch.script(options)
    done = launch.horovodrun(command, "-np", 2, "--timeline-filename", timeline)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("name", EXACT)
def test_two_workers_end_where_one_does(alone, pair, name):
    weights, history = alone[name]
    for rank in range(2):
        assert difference(weights, weights_of(pair / f"{name}-rank-{rank}-of-2.npz")) < 1e-5
    together = load_state(pair / name).history
    assert len(together) * 5 == N_STEPS
    assert {row["workers"] for row in together} == {2}
    for column in ("loss", "val_loss"):
        np.testing.assert_allclose([row[column] for row in together], history[column], rtol=1e-5)


@pytest.mark.parametrize("name", ROUNDED)
def test_in_16_bits_two_workers_agree_and_end_near_one(alone, pair, name):
    one, other = (weights_of(pair / f"{name}-rank-{rank}-of-2.npz") for rank in range(2))
    assert difference(one, other) == 0, "the ranks have drifted apart"
    losses = [row["val_loss"] for row in load_state(pair / name).history]
    np.testing.assert_allclose(losses, alone[name][1]["val_loss"], rtol=ROUNDED[name][1])


def test_linear_scaling_is_a_larger_batch_and_a_higher_rate(alone, pair):
    weights = weights_of(pair / "linear-rank-0-of-2.npz")
    assert difference(alone["linear"][0], weights) < 1e-5


def test_all_ranks_validate_with_the_same_statistics_of_batch_normalisation(pair):
    model = load_model(lambda: small.build_model(normalised=True), pair / "normalised")
    x, y = (values[small.N_TRAIN :] for values in small.data())
    by_one = np.mean((model.predict(x, verbose=0) - y) ** 2)
    by_both = min(row["val_loss"] for row in load_state(pair / "normalised").history)
    assert by_both == pytest.approx(by_one, rel=1e-5)


def test_only_the_leading_rank_writes_and_the_other_has_the_weights(pair):
    kept = load_model(small.build_model, pair / "plain").get_weights()
    for rank in range(2):
        assert difference(kept, weights_of(pair / f"plain-rank-{rank}-of-2.npz")) == 0


def test_horovods_timeline_shows_the_sums_of_gradients(pair):
    text = (pair / "timeline.json").read_text()
    assert "ALLREDUCE" in text


def test_srun_starts_workers_without_mpi_and_an_odd_number_works_too(alone, tmp_path):
    # Batches of 16 and of 1 sample, shared by 3.
    cases = {name: EXACT[name] for name in ("plain", "dropout")}
    command = launch.script({"folder": str(tmp_path), "cases": cases})
    ranks = launch.srun([command] * 3)
    assert [rank.returncode for rank in ranks] == [0, 0, 0], ranks[0].stderr
    for name in cases:
        for rank in range(3):
            weights = weights_of(tmp_path / f"{name}-rank-{rank}-of-3.npz")
            assert difference(alone[name][0], weights) < 1e-5


@pytest.fixture
def two_machines():
    """Two network namespaces that reach each other and nothing else; the first one's address."""
    names = [f"repro-{os.getpid()}-{i}" for i in range(2)]
    links = [f"rp{os.getpid()}-{i}" for i in range(2)]
    commands = [["netns", "add", name] for name in names]
    commands += [["link", "add", links[0], "netns", names[0], "type", "veth"]]
    commands[-1] += ["peer", "name", links[1], "netns", names[1]]
    for i, (name, link) in enumerate(zip(names, links, strict=True)):
        commands += [["-n", name, "addr", "add", f"10.77.0.{i + 1}/24", "dev", link]]
        commands += [["-n", name, "link", "set", device, "up"] for device in ("lo", link)]
    try:
        for command in commands:
            done = subprocess.run(["ip", *command], capture_output=True, text=True, check=False)
            if done.returncode:
                pytest.skip(f"no network namespaces here: {done.stderr.strip()}")
        yield names, "10.77.0.1"
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


@pytest.mark.skipif(shutil.which("ip") is None, reason="no ip to make network namespaces with")
def test_ranks_on_two_machines_meet_by_the_network_between_them(alone, two_machines, tmp_path):
    machines, address = two_machines
    command = launch.script({"folder": str(tmp_path), "cases": ONCE})
    ranks = launch.srun_on_machines(command, machines, address)
    assert [rank.returncode for rank in ranks] == [0, 0], ranks[0].stderr
    for rank in range(2):
        weights = weights_of(tmp_path / f"plain-rank-{rank}-of-2.npz")
        assert difference(alone["plain"][0], weights) < 1e-5


# ---- ranks that are lost


def elastic(folder, options, *arguments, **variables):
    discovery = folder / "discover_hosts.sh"
    discovery.write_text(DISCOVERY)
    discovery.chmod(0o755)
    words = ["-np", 2, "--min-np", 1, "--max-np", 2, "--host-discovery-script", discovery]
    return launch.horovodrun(launch.script(options), *words, *arguments, **variables)


@pytest.mark.parametrize(
    ("name", "rank", "moment"),
    [
        ("plain", 0, {"step": 11}),
        ("dropout", 1, {"step": 4}),
        ("renewed", 1, {"step": N_STEPS}),
        ("plain", 1, {"during": "validation"}),
        ("plain", 0, {"during": "saving"}),
    ],
    ids=[
        "leader_after_a_commit",
        "follower_in_the_first_epoch",
        "follower_at_the_last_step",
        "follower_as_it_validates",
        "leader_as_it_saves",
    ],
)
def test_a_worker_killed_costs_only_the_steps_since_the_last_commit(
    alone, tmp_path, name, rank, moment
):
    wrong = {"rank": rank, "how": "kill", **moment}
    options = {"folder": str(tmp_path), "cases": {name: EXACT[name]}, "wrong": wrong}
    done = elastic(tmp_path, options)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "went wrong").exists()
    dropout = EXACT[name].get("dropout", 0.0)
    kept = load_model(lambda: small.build_model(dropout), tmp_path / name).get_weights()
    assert difference(alone[name][0], kept) < 1e-5, wrong
    history = load_state(tmp_path / name).history
    assert [row["epoch"] for row in history] == [1, 2, 3, 4]
    assert history[-1]["workers"] == 1
    losses = [row["loss"] for row in history]
    np.testing.assert_allclose(losses, alone[name][1]["loss"], rtol=1e-5)


def test_a_worker_that_comes_back_joins_the_running_epoch(alone, tmp_path):
    wrong = {"rank": 1, "step": 3, "how": "kill"}
    options = {"folder": str(tmp_path), "cases": ONCE, "wrong": wrong, "pause_s": 1.5}
    elastic(tmp_path, options, "--blacklist-cooldown-range", 1, 2)
    history = load_state(tmp_path / "plain").history
    assert 1 in [row["workers"] for row in history]
    assert history[-1]["workers"] == 2, "nobody came back"
    for rank in range(2):
        weights = weights_of(tmp_path / f"plain-rank-{rank}-of-2.npz")
        assert difference(alone["plain"][0], weights) < 1e-5


def ranks_of(job, words):
    """Return the processes of a job that run a command, its launcher left out."""
    family = psutil.Process(job.pid).children(recursive=True)
    return [
        p for p in family if words in " ".join(p.cmdline()) and "horovodrun" not in p.cmdline()[1]
    ]


@pytest.mark.skipif(
    not (launch.ROOT / ".venv").exists(), reason="elastic.sh takes .venv: make setup"
)
def test_a_rank_lost_while_ranks_meet_costs_a_new_start(tmp_path):
    discovery, out = tmp_path / "discover_hosts.sh", tmp_path / "run"
    discovery.write_text(DISCOVERY)
    discovery.chmod(0o755)
    words = [
        "mamba",
        "--variant",
        "faithful",
        "--preset",
        "smoke",
        "--no-xla",
        "--out",
        out,
        "--quiet",
    ]
    command = [launch.ROOT / "docs" / "cluster" / "elastic.sh", discovery, *words]
    job = launch.start([*map(str, command)], launch.environment(), cwd=launch.ROOT)
    # It loads TensorFlow still, for some seconds.
    doomed = wait_for(lambda: ranks_of(job, "repro train")[1:])
    doomed[-1].kill()
    (done,) = launch.finished([job], launch.LIMIT_S)
    assert done.returncode == 0, done.stderr
    assert "the job starts again from the last whole epoch" in done.stderr
    for network in ("real", "imag"):
        folder = out / "seed-0" / "networks" / network
        assert [row["epoch"] for row in load_state(folder).history] == [1, 2]


def wait_for(found, limit_s=60):
    """Return what is found as soon as there is something."""
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        if things := found():
            return things
        time.sleep(0.1)
    raise AssertionError("nothing came")


@pytest.fixture(scope="module")
def broken_off(tmp_path_factory):
    """A run of two ranks, not elastic, whose rank 1 is killed in its third epoch."""
    folder = tmp_path_factory.mktemp("broken")
    wrong = {"rank": 1, "step": 13, "how": "kill"}
    command = launch.script({"folder": str(folder), "cases": ONCE, "wrong": wrong})
    return folder, command, launch.srun([command] * 2)


def test_a_lost_rank_is_told_and_the_last_epoch_is_kept(broken_off):
    folder, _, (survivor, lost) = broken_off
    assert lost.returncode == -9
    assert survivor.returncode == 1
    assert "error: Rank 0 of 2 lost another rank" in survivor.stderr
    assert "Traceback" not in survivor.stderr
    assert len(load_state(folder / "plain").history) == 2


def test_the_same_command_goes_on_after_a_lost_rank(alone, broken_off):
    folder, command, _ = broken_off
    ranks = launch.srun([command] * 2)
    assert [rank.returncode for rank in ranks] == [0, 0], ranks[0].stderr
    weights = weights_of(folder / "plain-rank-1-of-2.npz")
    assert difference(alone["plain"][0], weights) < 1e-5


@pytest.mark.parametrize("how", ["sleep", "stop"])
def test_a_rank_that_hangs_ends_the_run_with_a_message_and_no_process_left(tmp_path, how):
    wrong = {"rank": 1, "step": 8, "how": how}
    options = {"folder": str(tmp_path), "cases": ONCE, "wrong": wrong, "timeout_s": 15}
    done = launch.horovodrun(launch.script(options), "-np", 2, limit_s=150)
    assert done.returncode != 0
    assert "Rank 0 of 2 took no step for 15 s: this rank or another hangs" in done.stderr
    if how == "sleep":
        assert "Rank 1 of 2 took no step for 15 s" in done.stderr
        assert "go_wrong" in done.stderr, "the message says where the rank hangs"
    assert not [p for p in psutil.process_iter(["cmdline"]) if str(tmp_path) in str(p.info)]
    assert len(load_state(tmp_path / "plain").history) == 1


@pytest.mark.parametrize(
    ("how", "told"), [("error", "was told to fail"), ("nan", "The loss became nan in epoch 2")]
)
def test_a_rank_that_fails_says_why_and_the_others_end_too(tmp_path, how, told):
    wrong = {"rank": 1, "step": 8, "how": how}
    command = launch.script({"folder": str(tmp_path), "cases": ONCE, "wrong": wrong})
    other, failed = launch.srun([command] * 2)
    assert told in failed.stderr
    assert (failed.returncode, other.returncode) == (1, 1)
    assert "lost another rank" in other.stderr or told in other.stderr
    assert len(load_state(tmp_path / "plain").history) == 1


def test_ranks_with_other_code_data_or_options_are_refused(tmp_path):
    facts = {"0": {"code": "a", "data set": "x"}, "1": {"code": "a", "data set": "y"}}
    command = launch.script({"folder": str(tmp_path / "run"), "cases": ONCE, "facts": facts})
    for rank in launch.srun([command] * 2):
        assert rank.returncode == 1
        assert "Rank 1 has other data set than rank 0" in rank.stderr
    assert not (tmp_path / "run").exists()


def test_more_workers_than_samples_in_a_batch_are_refused(tmp_path):
    command = launch.script({"folder": str(tmp_path), "cases": {"tiny": {"batch_size": 1}}})
    for rank in launch.srun([command] * 2):
        assert rank.returncode == 1
        assert "2 workers cannot share batches of 1 samples" in rank.stderr


# ---- the command line


def test_two_workers_go_the_whole_way_to_one_record(tmp_path):
    command = [str(launch.BIN / "repro"), "run", "mamba", "--out", str(tmp_path / "run")]
    few = {"train": 64, "validation": 8, "test": 8, "recipe.epochs": 1}
    settings = [word for key, value in few.items() for word in ("--set", f"{key}={value}")]
    done = launch.horovodrun([*command, *settings, "--quiet"], "-np", 2)
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "run" / "record.json").read_text())
    assert record["environment"]["flags"]["world_size"] == 2
    assert record["environment"]["packages"]["horovod"].startswith("0.28.1+repro")
    assert record["command"].startswith("horovodrun -np 2 repro run mamba")
    assert record["status"] == "ok"
    assert done.stdout.count("[1]<stdout>") == 0, "only the leading rank tells the result"


def test_ranks_with_other_options_are_refused_before_anything_is_trained(tmp_path):
    command = [str(launch.BIN / "repro"), "train", "mamba", "--out", str(tmp_path), "--quiet"]
    few = ["--set", "train=16", "--set", "validation=2", "--set", "test=2", "--set"]
    commands = [[*command, *few, f"recipe.epochs={epochs}"] for epochs in (1, 2)]
    for rank in launch.srun(commands):
        assert rank.returncode == ReproError.exit_status
        assert "error: Rank 1 has other configuration than rank 0" in rank.stderr
    assert not list(tmp_path.glob("seed-*"))


def test_jax_is_not_trained_by_horovod(monkeypatch, tmp_path):
    command = [sys.executable, "-m", "repro", "train", "mamba", "--out", str(tmp_path / "run")]
    (told,) = launch.finished(
        [launch.start(command, launch.environment(KERAS_BACKEND="jax", HOROVOD_SIZE="2"))], 60
    )
    assert told.returncode == ReproError.exit_status
    assert "the backend is jax" in told.stderr
    assert os.listdir(tmp_path) == []  # noqa: PTH208
