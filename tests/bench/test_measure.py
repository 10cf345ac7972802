"""Shares of ceilings, and when they are unreliable."""

import os
import sys
import time

from repro.bench import watching
from repro.bench.ceilings import Ceilings, memory_gbytes
from repro.bench.device import usable_cores
from repro.bench.flops import Cost
from repro.bench.machine import gpu_facts, lasting
from repro.bench.measure import BEYOND, BUSY, VARIED, marks, moved_bytes
from repro.bench.rows import Ceiling
from repro.bench.session import why_no_larger


def test_a_row_beyond_its_ceiling_is_marked(bench_row):
    beyond = Ceiling(name="BF16", rate=1e12, share=1.55, variation=0.0)
    assert marks(bench_row(matmul=beyond)) == [BEYOND]
    assert marks(bench_row()) == []


def test_a_ceiling_that_varied_and_a_busy_machine_are_marked(bench_row):
    varied = Ceiling(name="memory", rate=1e12, share=0.5, variation=0.2)
    busy = 0.5 * usable_cores()
    assert marks(bench_row(memory=varied, busy_elsewhere=busy)) == [BUSY, VARIED]


def test_a_ceiling_is_measured_between_rows_and_the_best_is_kept():
    rates = iter([3.0, 5.0, 4.0])
    ceilings = Ceilings(lambda kind: next(rates))
    assert (ceilings.before("float32"), ceilings.after("float32")) == (3.0, 5.0)
    assert (ceilings.before("float32"), ceilings.after("float32")) == (5.0, 4.0)
    assert ceilings.best == {"float32": 5.0}


def test_memory_is_read_at_a_credible_speed():
    assert 0.1 < memory_gbytes(size=2**22, repeats=2) < 1e5


def test_a_step_moves_samples_thrice_and_weights_as_often_as_its_optimizer_does():
    cost = Cost(parameters=1000, flops=0, moved=50)
    assert moved_bytes(cost, "infer", 8, "float32", "adam") == 8 * 50 * 4 + 4000
    assert moved_bytes(cost, "train", 8, "bfloat16", "adam") == 3 * 8 * 50 * 2 + 40_000
    assert moved_bytes(cost, "train", 8, "float32", "sgd") == 3 * 8 * 50 * 4 + 24_000


def test_what_runs_beside_is_seen_and_own_work_is_not():
    with watching.watching() as seen:
        sum(i * i for i in range(10**6))
    assert 0 <= seen.busy_elsewhere <= usable_cores() + 0.5
    assert seen.peak_bytes is None or seen.peak_bytes > 10**6
    assert seen.joules is None


def test_a_batch_is_doubled_until_memory_or_time_is_short(bench_row):
    grown = [bench_row(batch=32, peak_gb=2.0), bench_row(batch=64, peak_gb=3.0)]
    later = time.monotonic() + 100
    assert why_no_larger(grown, later, available=100e9) == ""
    assert "5.0 GB" in why_no_larger(grown, later, available=6e9)
    assert "time was up" in why_no_larger(grown, time.monotonic() - 1, available=100e9)
    assert "a step takes" in why_no_larger([bench_row(seconds=30.0)], later, available=100e9)
    assert why_no_larger([bench_row(peak_gb=None)], later, available=1e9) == ""


class FakeNvml:
    """A driver with two GPUs that have taken 1500 J and 500 J."""

    NVMLError = RuntimeError

    @staticmethod
    def nvmlInit():
        """Begin."""

    @staticmethod
    def nvmlDeviceGetHandleByIndex(place):
        return place

    @staticmethod
    def nvmlDeviceGetTotalEnergyConsumption(handle):
        return {0: 1_500_000, 1: 500_000}[handle]


def test_energy_is_that_of_the_gpus_in_use_or_why_it_is_not_told(monkeypatch):
    assert watching.why_no_energy() == watching.NO_GPU
    monkeypatch.setattr(watching, "gpu_name", lambda: "NVIDIA H100")
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert watching.why_no_energy() == watching.NO_NVML
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml)
    assert watching.why_no_energy() is None
    assert (watching._joules(1), watching._joules(2)) == (1500.0, 2000.0)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert watching._joules(1) == 500.0


NVIDIA_SMI = """#!/bin/sh
case "$1" in
  --query-gpu=*) echo "570.1, 345, 1980, 2619, 700.00"; echo "570.1, 345, 1980, 2619, 700.00";;
  *) echo "| NVIDIA-SMI 570.1   Driver Version: 570.1   CUDA Version: 12.8 |";;
esac
"""


def test_driver_clocks_and_power_limit_are_read(tmp_path, monkeypatch):
    program = tmp_path / "nvidia-smi"
    program.write_text(NVIDIA_SMI)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    facts = gpu_facts()
    assert (facts["driver"], facts["cuda"], facts["power_limit_w"]) == ("570.1", "12.8", 700.0)
    assert "graphics_clock_mhz" in facts
    assert "graphics_clock_mhz" not in lasting(facts)
    monkeypatch.setenv("PATH", "")
    assert gpu_facts() == {}
