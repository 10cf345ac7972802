"""Domains of a specimen: where they are at which temperature, and their stripes."""

from itertools import pairwise

import numpy as np
import pytest

from repro.studies.domain_ae.specimen import (
    AA,
    AC,
    DIRECTIONS,
    NONE,
    PERIODS,
    STRIPED,
    VOID,
    Specimen,
    needles,
)

SPECIMEN = Specimen(number=3, seed=0, size=512, extent=512, window=64)
SUPPRESSED = Specimen(3, 0, 512, 512, 64, surviving=0.3, coexistence=0.0)


def area(labels, classes):
    return float(np.isin(labels, classes).mean())


def crossing(specimen, hysteresis):
    """Return the temperature up to which a-c fills more than a-a [°C]."""
    temperatures = np.arange(30, 100, 0.5)
    maps = [specimen.labels(t, hysteresis) for t in temperatures]
    return temperatures[np.argmax([area(m, AA) >= area(m, AC) for m in maps])]


def test_needles_are_as_deep_as_the_fact_sheet_has_them():
    phase = 2 * np.pi * np.arange(1000) / 1000
    profile = needles(phase)
    assert np.ptp(profile) == pytest.approx(0.95, abs=0.01)
    assert profile.mean() == pytest.approx(0, abs=1e-9)
    assert 2 * np.mean(profile * np.cos(phase)) == pytest.approx(0.50, abs=0.01)
    assert (profile > 0).mean() < 0.5, "needles are narrow lines"


def test_fields_have_mean_0_and_variance_1_and_their_own_length():
    for name, length in (("change", 60), ("end", 30)):
        field = SPECIMEN.field(name, length)
        assert field.mean() == pytest.approx(0, abs=0.02)
        assert field.std() == pytest.approx(1, abs=0.02)
        # The correlation of filtered noise falls to exp(-1/4) over the filter's width.
        alike = np.mean(field * np.roll(field, length, axis=0))
        assert alike == pytest.approx(np.exp(-1 / 4), abs=0.12)
    assert abs(np.corrcoef(SPECIMEN.end.ravel(), SPECIMEN.change.ravel())[0, 1]) < 0.4


def test_a_smaller_frame_shows_a_part_of_the_specimen():
    part = Specimen(3, 0, 200, 512, 64)
    np.testing.assert_array_equal(part.field("end", 60), SPECIMEN.field("end", 60)[:200, :200])


def test_a_larger_specimen_is_the_same_one():
    larger = Specimen(3, 0, 1024, 1024, 128)
    for label in STRIPED:
        assert larger.period(label) == pytest.approx(2 * SPECIMEN.period(label))
    coarse = larger.labels(60)[1::2, 1::2]
    assert np.mean(coarse == SPECIMEN.labels(60)) > 0.98


def test_a_c_turns_to_a_a_and_all_domains_end():
    assert area(SPECIMEN.labels(23), AC) > 0.7
    assert area(SPECIMEN.labels(23), AA) == 0
    assert area(SPECIMEN.labels(100), AA) > 0.7
    assert area(SPECIMEN.labels(100), AC) == 0
    assert area(SPECIMEN.labels(189), STRIPED) == 0
    areas = [area(SPECIMEN.labels(t), STRIPED) for t in range(20, 200, 10)]
    assert all(later <= earlier for earlier, later in pairwise(areas))


def test_a_c_comes_back_later_on_cooling():
    heating, cooling = crossing(SPECIMEN, 0), crossing(SPECIMEN, 9)
    assert heating - cooling == pytest.approx(9, abs=0.5)
    assert 55 < heating < 70


def test_a_gas_suppresses_domains_and_coexistence():
    assert area(SUPPRESSED.labels(23), STRIPED) == pytest.approx(0.3, abs=0.05)
    for temperature in range(40, 90, 2):
        labels = SUPPRESSED.labels(temperature)
        assert min(area(labels, AC), area(labels, AA)) == 0
    both = SPECIMEN.labels(crossing(SPECIMEN, 0))
    assert min(area(both, AC), area(both, AA)) > 0.2


def test_void_is_void_at_every_temperature():
    for temperature in (23, 100, 250):
        labels = SPECIMEN.labels(temperature)
        np.testing.assert_array_equal(labels == VOID, SPECIMEN.void)
    assert area(SPECIMEN.labels(250), (VOID, NONE)) == 1


@pytest.mark.parametrize("label", STRIPED)
def test_stripes_have_their_direction_and_period_in_the_spectrum(label):
    inner = SPECIMEN.stripes(label)[128:384, 128:384]
    taper = np.hanning(256)
    power = np.abs(np.fft.fft2(inner * np.outer(taper, taper), (1024, 1024))) ** 2
    row, column = np.unravel_index(power[:512].argmax(), (512, 1024))
    down, right = np.fft.fftfreq(1024)[[row, column]]
    direction = np.rad2deg(np.arctan2(right, down)) % 180
    assert abs((direction - DIRECTIONS[label] + 90) % 180 - 90) < 6, "bends turn stripes by 5°"
    assert 1 / np.hypot(down, right) == pytest.approx(SPECIMEN.period(label), rel=0.1)
    assert SPECIMEN.period(label) == pytest.approx(PERIODS[label], rel=0.1)


def test_the_wave_of_bent_stripes_is_the_slope_of_their_phase():
    label = AA[1]
    direction, period = SPECIMEN.wave(label)
    assert np.median(direction) == pytest.approx(DIRECTIONS[label], abs=3)
    assert np.std(direction) == pytest.approx(3, abs=2)
    # From a pixel to the one below and right of it the phase grows as direction and period say.
    angle = np.deg2rad(direction)
    step = 2 * np.pi * (np.cos(angle) + np.sin(angle)) / period
    phase = SPECIMEN.phase(label)
    grown = (phase[2:, 2:] - phase[:-2, :-2]) / 2
    np.testing.assert_allclose(step[1:-1, 1:-1], grown, atol=0.02)


def test_needles_are_dark_and_only_where_their_domain_is():
    labels = SPECIMEN.labels(60)
    plain, striped = SPECIMEN.image(labels, 0.0), SPECIMEN.image(labels, 0.05)
    away = (labels == NONE) & ~SPECIMEN.void
    inside = np.isin(labels, STRIPED)
    assert np.abs(striped - plain)[away].mean() < 0.1 * np.abs(striped - plain)[inside].mean()
    difference = (striped - plain)[inside]
    assert difference.min() < -0.03
    assert abs(difference.mean()) < 0.001
