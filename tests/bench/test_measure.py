"""Shares of ceilings, and when they are not to be trusted."""

from repro.bench.ceilings import Ceilings, memory_gbytes
from repro.bench.device import usable_cores
from repro.bench.flops import Cost
from repro.bench.measure import marks, moved_bytes
from repro.bench.rows import Ceiling
from repro.bench.session import why_no_larger
from repro.bench.watching import watching


def test_a_row_beyond_its_ceiling_is_marked(bench_row):
    beyond = Ceiling(name="BF16", rate=1e12, share=1.55, variation=0.0)
    assert marks(bench_row(matmul=beyond)) == ["155% of the ceiling BF16"]
    assert marks(bench_row()) == []


def test_a_ceiling_that_varied_and_a_busy_machine_are_marked(bench_row):
    varied = Ceiling(name="memory", rate=1e12, share=0.5, variation=0.2)
    found = marks(bench_row(memory=varied, busy_elsewhere=0.5 * usable_cores()))
    assert len(found) == 2
    assert "cores busy" in found[0]
    assert "varied by 20%" in found[1]


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
    with watching() as seen:
        sum(i * i for i in range(10**6))
    assert 0 <= seen.busy_elsewhere <= usable_cores() + 0.5
    assert seen.peak_bytes is None or seen.peak_bytes > 10**6
    assert seen.joules is None


def test_a_batch_is_doubled_until_memory_or_time_is_short(bench_row):
    grown = [bench_row(batch=32, peak_gb=2.0), bench_row(batch=64, peak_gb=3.0)]
    assert why_no_larger(grown, available=100e9) == ""
    assert "5.0 GB" in why_no_larger(grown, available=6e9)
    assert "a step takes" in why_no_larger([bench_row(seconds=30.0)], available=100e9)
    assert why_no_larger([bench_row(peak_gb=None)], available=1e9) == ""
