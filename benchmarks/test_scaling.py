"""What several workers gain, and what taking part in a job costs one: the U-Net of `mamba`."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from statistics import median

import pytest

from repro.studies.mamba.model import PUBLISHED_WIDTHS
from repro.studies.mamba.recipe import FAITHFUL

pytest.importorskip("horovod", reason="Horovod is missing: make horovod")

SCRIPT = Path(__file__).with_name("steps_of_a_rank.py")
BATCH_SIZE = 32  # the published one, of all workers together


def free_port():
    """Return a port that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def one_worker(**options):
    """Return the times of steps of a job of a single rank, by kind [s]."""
    return leading_output([start(options, core=0, HOROVOD_SIZE=1, HOROVOD_CONTROLLER="gloo")])


def two_workers(**options):
    """Return the times of steps of a job of two ranks, by kind [s]."""
    port, ranks = free_port(), []
    for rank in range(2):
        place = {"OMPI_COMM_WORLD_SIZE": 2, "OMPI_COMM_WORLD_LOCAL_SIZE": 2}
        place |= {"OMPI_COMM_WORLD_RANK": rank, "OMPI_COMM_WORLD_LOCAL_RANK": rank}
        place |= {"HOROVOD_GLOO_RENDEZVOUS_ADDR": "127.0.0.1", "HOROVOD_GLOO_RENDEZVOUS_PORT": port}
        ranks.append(start(options, core=rank, **place))
    return leading_output(ranks)


def start(options, core, **variables):
    """Start a rank on a core of its own."""
    options = {"batch_size": BATCH_SIZE, "plain": False, "core": core, **options}
    one_thread = {"OMP_NUM_THREADS": 1, "TF_NUM_INTRAOP_THREADS": 1, "KERAS_BACKEND": "tensorflow"}
    told = {name: str(value) for name, value in {**one_thread, **variables}.items()}
    command = [sys.executable, str(SCRIPT), json.dumps(options)]
    return subprocess.Popen(command, env=os.environ | told, stdout=subprocess.PIPE, text=True)


def leading_output(ranks):
    """Wait for the ranks; return what the leading one tells."""
    outputs = [rank.communicate()[0] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0] * len(ranks)
    return json.loads(outputs[0])


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one core cannot show what two gain")
@pytest.mark.parametrize(
    ("widths", "n_steps"), [(FAITHFUL["desk"].widths, 12), (PUBLISHED_WIDTHS, 4)], ids=str
)
def test_two_workers_against_one(benchmark, widths, n_steps):
    """Equal batch of all workers together, one core each."""

    def both():
        return [run(widths=widths, n_steps=n_steps) for run in (one_worker, two_workers)]

    one, two = benchmark.pedantic(both, rounds=1)
    rates = [BATCH_SIZE / median(times["together"]) for times in (one, two)]
    benchmark.extra_info |= {
        "samples_per_second_of_one": rates[0],
        "samples_per_second_of_two": rates[1],
        "speedup_over_one_worker": rates[1] / rates[0],
    }


def test_what_horovod_costs_a_single_worker(benchmark):
    """Steps with and without it, turn by turn in one process."""
    widths = FAITHFUL["desk"].widths
    times = benchmark.pedantic(
        one_worker, kwargs={"widths": widths, "n_steps": 25, "plain": True}, rounds=1
    )
    together, plain = (median(times[name]) for name in ("together", "plain"))
    benchmark.extra_info |= {
        "step_seconds": together,
        "step_seconds_without": plain,
        "overhead": together / plain - 1,
    }
