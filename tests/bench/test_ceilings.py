"""The measured speed of matrix products."""

import pytest

from repro.bench.ceilings import matmul_gflops


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_machine_multiplies_at_a_credible_speed(dtype):
    assert 1e-3 < matmul_gflops(dtype, size=64, repeats=2) < 1e7
