"""Areas against temperature, and what is read from them."""

import numpy as np
import pytest

from repro.studies.domain_ae.areas import area, crossing, end, pixels_of

T = np.arange(20.0, 201.0, 20.0)


@pytest.mark.parametrize(("size", "window", "step"), [(512, 64, 16), (500, 64, 16), (64, 64, 16)])
def test_windows_stand_for_all_pixels_once(size, window, step):
    assert pixels_of(size, window, step).sum() == pytest.approx(size)


def test_half_a_frame_of_windows_is_half_the_area():
    found = np.zeros((2, 29, 29), bool)
    found[0, :, :15] = True
    found[1] = True
    np.testing.assert_allclose(area(found, (512, 512), 64, 16), [0.516, 1], atol=0.001)


def test_curves_cross_between_frames():
    ac = np.where(T < 70, 0.8, 0.0)
    aa = np.where(T < 70, 0.0, 0.8)
    assert crossing(T, ac, aa) == pytest.approx(70)
    assert crossing(T[::-1], ac[::-1], aa[::-1]) == pytest.approx(70), "cooling is read alike"
    assert np.isnan(crossing(T, ac, 0 * aa))


def test_domains_end_where_a_twentieth_is_left():
    domains = np.interp(T, [100, 200], [0.5, 0])
    assert end(T, domains) == pytest.approx(190)
    assert np.isnan(end(T, np.ones(len(T))))
    assert np.isnan(end(T, np.zeros(len(T))))
