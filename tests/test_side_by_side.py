"""Pieces of work on all cores give what they give one after the other."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from repro.side_by_side import side_by_side


@pytest.mark.parametrize("threads", ["1", "3"])
def test_results_come_in_order_and_are_the_same_bits_on_any_number_of_threads(monkeypatch, threads):
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    matrices = np.random.default_rng(0).standard_normal((20, 60, 60))
    found = list(side_by_side(lambda matrix: np.linalg.solve(matrix, matrix @ matrix), matrices))
    for matrix, solution in zip(matrices, found, strict=True):
        np.testing.assert_array_equal(solution, np.linalg.solve(matrix, matrix @ matrix))


def test_as_many_threads_as_chosen_work_and_numpys_blas_takes_one_for_each(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    meeting = threading.Barrier(3, timeout=20)  # broken if fewer work at a time

    def meet(piece):
        meeting.wait()
        blas = [pool for pool in threadpool_info() if "numpy" in pool["filepath"]]
        return [pool["num_threads"] for pool in blas]

    assert {n for pools in side_by_side(meet, range(6)) for n in pools} == {1}


def test_an_error_ends_the_work_without_the_pieces_that_wait(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    done = []

    def fail_first(piece):
        if piece == 0:
            raise ValueError("no")
        time.sleep(0.05)
        done.append(piece)

    with pytest.raises(ValueError, match="no"):
        list(side_by_side(fail_first, range(200)))
    assert len(done) < 100
