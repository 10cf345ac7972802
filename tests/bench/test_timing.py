"""What steps' times say, and when a step is too slow to be timed."""

import numpy as np
import pytest

from repro.bench.timing import ROUNDS, NotTimed, steps_within, summarise, take_turns, warm_up


def test_the_interval_holds_the_median_as_often_as_it_says():
    draw = np.random.default_rng(0)
    found = [summarise(list(draw.exponential(size=25))) for _ in range(2000)]
    held = np.mean([times.low <= np.log(2) <= times.high for times in found])
    assert 0.95 <= held < 0.99


def test_few_times_give_their_whole_range():
    times = summarise([3.0, 1.0, 2.0])
    assert (times.low, times.median, times.high, times.steps) == (1.0, 2.0, 3.0, 3)


def test_steps_fill_the_time_and_no_more():
    assert steps_within(10.0, 1.0, 64, limit=100) == 10 // ROUNDS
    assert steps_within(10.0, 20.0, 64, limit=100) == 1
    assert steps_within(10.0, 1.0, 300, limit=100, at_once=64) == 4 * 64
    with pytest.raises(NotTimed, match="too long"):
        steps_within(10.0, 60.0, 64, limit=100)


def test_programs_take_turns_and_the_first_steps_do_not_count():
    order = []

    def program(name):
        def epoch(n):
            for _ in range(n):
                order.append(name)
                yield 1

        return epoch

    programs = {name: program(name) for name in "ab"}
    warm_up(programs)
    assert order == ["a", "b", "a", "b"]
    order.clear()
    taken = take_turns(programs, 6)
    assert "".join(order) == ("a" * 6 + "b" * 6) * ROUNDS
    assert [len(times) for times in taken.values()] == [5 * ROUNDS] * 2
