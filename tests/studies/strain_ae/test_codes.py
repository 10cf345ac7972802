"""What codes hold of strain and of grains."""

import numpy as np
import pytest

from repro.studies.strain_ae.codes import LinearReading, grain_information

DRAWS = np.random.default_rng(0)


def test_what_codes_hold_in_a_line_is_read_exactly_and_rotations_within_a_sixth():
    truth = DRAWS.normal(0, 0.01, (40, 4))
    codes = truth @ DRAWS.normal(size=(4, 20)) + 3
    read = LinearReading(codes[::2], truth[::2])
    np.testing.assert_allclose(read(codes), truth, atol=1e-9)
    turned = LinearReading(codes, truth + np.array([0, 0, 0, np.pi / 3]))
    np.testing.assert_allclose(turned(codes), truth, atol=1e-9)


def test_codes_that_lie_by_grain_tell_grains_and_others_do_not():
    grain = np.repeat(np.arange(5), 20)
    middles = DRAWS.normal(size=(5, 20))
    assert grain_information(middles[grain] + 0.01 * DRAWS.normal(size=(100, 20)), grain, 0) == 1
    nothing = grain_information(DRAWS.normal(size=(100, 20)), grain, 0)
    assert nothing == pytest.approx(0, abs=0.1)
