import math

import pytest

from repro.errors import ReproError
from repro.training.schedules import Adaptive, Ramp, Staircase, StepDecay, Triangle


def factors(schedule, epochs):
    return [schedule.factor([1.0] * done) for done in range(epochs)]


def test_triangle_goes_straight_up_and_down_and_begins_again():
    assert factors(Triangle(0.2, 2), 9) == pytest.approx([0.2, 0.6, 1, 0.6, 0.2, 0.6, 1, 0.6, 0.2])


def test_triangle_is_pytorchs_cyclic_learning_rate_of_the_papers():
    # By hand from CyclicLR's definition: base 3e-5, max 2e-4, step_size_up 20.
    base, top, half = 3e-5, 2e-4, 20
    for epoch, factor in enumerate(factors(Triangle(base / top, half), 90)):
        cycle = math.floor(1 + epoch / (2 * half))
        expected = base + (top - base) * max(0, 1 - abs(epoch / half - 2 * cycle + 1))
        assert top * factor == pytest.approx(expected, rel=1e-12)


def test_step_decay_multiplies_every_so_many_epochs():
    assert factors(StepDecay(0.5, every=2), 5) == [1, 1, 0.5, 0.5, 0.25]


def test_adaptive_rate_rises_after_the_best_loss_yet_and_else_falls():
    losses = [3.0, 2.0, 2.5, 2.0, 1.0]
    expected = [1, 1.2, 1.2**2, 1.2**2 * 0.8, 1.2**2 * 0.8**2, 1.2**3 * 0.8**2]
    found = [Adaptive().factor(losses[:done]) for done in range(6)]
    assert found == pytest.approx(expected, rel=1e-12)


def test_the_first_losses_may_only_set_the_best():
    assert Adaptive(first_epoch=2).factor([3.0]) == 1
    assert Adaptive(first_epoch=2).factor([3.0, 4.0]) == 0.8


def test_ramp_is_a_line_between_two_constants():
    ramp = Ramp("l1", first=1.0, last=3.0, first_epoch=2, last_epoch=4)
    assert [ramp.weight(epoch) for epoch in (1, 2, 3, 4, 9)] == [1, 1, 2, 3, 3]


def test_staircase_is_nothing_at_first_and_then_grows_for_ever():
    stairs = Staircase("l1", step=2.5e-8, first_epoch=21, every=5)
    weights = [stairs.weight(epoch) for epoch in (1, 20, 21, 25, 26, 120)]
    assert weights == pytest.approx([0, 0, 2.5e-8, 2.5e-8, 5e-8, 20 * 2.5e-8])


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Triangle(0.0, 20), "lowest is 0"),
        (lambda: Triangle(0.1, 0), "half_period is 0"),
        (lambda: StepDecay(-1, 2), "multiplier is -1"),
        (lambda: Adaptive(fall=1.1), r"fall is 1\.1"),
        (lambda: Ramp("l1", 0, 1, 3, 3), "epochs is 3 to 3"),
        (lambda: Staircase("l1", 1, 0, 5), "first_epoch is 0"),
    ],
)
def test_impossible_schedules_are_refused(make, named):
    with pytest.raises(ReproError, match=named):
        make()
