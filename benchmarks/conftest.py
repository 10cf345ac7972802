"""What every benchmark says of its machine, and how programs are compared."""

import os
from statistics import median
from time import perf_counter

import pytest

from repro.bench.device import gpu_name, sysinfo

N_ROUNDS, N_ROUNDS_ON_A_GPU = 5, 50


def pytest_benchmark_generate_machine_info(config):
    """Describe the machine without the name of the host, which the default gives away."""
    return sysinfo()


@pytest.fixture
def take_turns(benchmark):
    """Return a function that runs programs one after the other, round by round.

    It returns their median seconds by name, without the rounds in which they warm up.
    """

    def run(n_warmups=1, n_rounds=N_ROUNDS, **programs):
        times = {name: [] for name in programs}

        def turn():
            for name, program in programs.items():
                begin = perf_counter()
                program()
                times[name].append(perf_counter() - begin)

        benchmark.pedantic(turn, rounds=n_rounds, warmup_rounds=n_warmups)
        seconds = {name: median(taken[n_warmups:] or taken) for name, taken in times.items()}
        benchmark.extra_info |= {f"seconds_of_{name}": taken for name, taken in seconds.items()}
        return seconds

    return run


@pytest.fixture
def take_short_turns(take_turns):
    """Return the same for programs of milliseconds on a GPU, of which it runs more."""

    def run(**programs):
        n_rounds = N_ROUNDS_ON_A_GPU if gpu_name() else N_ROUNDS
        return take_turns(n_warmups=2, n_rounds=n_rounds, **programs)

    return run


@pytest.fixture
def torch():
    """Return PyTorch on as many threads as Keras takes, which is all cores."""
    program = pytest.importorskip("torch", reason="PyTorch is missing: pip install torch")
    before = program.get_num_threads()
    program.set_num_threads(len(os.sched_getaffinity(0)))
    yield program
    program.set_num_threads(before)
