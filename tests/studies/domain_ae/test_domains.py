"""Classes of stripes found without labels, and what neighbours add."""

import numpy as np
import pytest

from repro.errors import ReproError
from repro.studies.domain_ae.domains import (
    AMPLITUDES,
    EXTENTS,
    Stripes,
    bump,
    darkness,
    direction_of,
    first_guess,
    learn,
    peaks,
    pooled,
    settled,
    surest,
)
from repro.studies.domain_ae.mapping import find_domains, read_of
from repro.studies.domain_ae.power import (
    Band,
    noise_power,
    power_over_noise,
    specimen_of,
    without_void,
)
from repro.studies.domain_ae.simulate import Series, frames
from repro.studies.domain_ae.specimen import AA, AC, DIRECTIONS, NONE, STRIPED, VOID
from repro.studies.domain_ae.windows import central_means, window_labels
from repro.study import get_study

RNG = np.random.default_rng(0)
BAND = Band()


def stripes_frame(direction, period, amplitude=0.0, dose=200.0, size=160):
    """Return counts of a frame with stripes of one direction [degrees] and period [pixels]."""
    rows, columns = np.indices((size, size))
    angle = np.deg2rad(direction)
    phase = 2 * np.pi * (rows * np.cos(angle) + columns * np.sin(angle)) / period
    return RNG.poisson(dose * (0.5 + amplitude * np.cos(phase)))


# ---- power over noise


def test_a_band_is_half_a_ring_and_counts_each_frequency_once():
    whole = {tuple(sign * f) for f in BAND.frequencies for sign in (1, -1)}
    assert len(whole) == 2 * len(BAND.frequencies)
    expected = sum(
        1.5 <= np.hypot(down, right) <= 10 for down in range(-10, 11) for right in range(-10, 11)
    )
    assert len(whole) == expected


@pytest.mark.parametrize("scale", [1.0, 0.01, 30.0])
def test_power_of_noise_is_one_and_exponential_whatever_the_unit(scale):
    power = power_over_noise(scale * stripes_frame(0, 16), 64, 16, BAND)
    assert power.mean() == pytest.approx(1, abs=0.08)
    assert np.median(power) == pytest.approx(np.log(2), abs=0.07)


def test_noise_grows_with_the_intensity():
    frame = np.full((128, 128), 20.0)
    frame[:, 64:] = 80
    expected = noise_power(frame, 1.0, 64, 64)
    assert expected[0, 1] == pytest.approx(4 * expected[0, 0])


def test_the_edge_of_the_void_is_no_stripe():
    frame = stripes_frame(0, 16)
    rows, columns = np.indices(frame.shape)
    frame[rows + columns < 90] = RNG.poisson(10, frame.shape)[rows + columns < 90]
    plain, masked = (power_over_noise(frame, 64, 16, BAND, dark) for dark in (-np.inf, 50))
    assert plain[0, 0].max() > 100
    assert np.quantile(masked, 0.999) < 15
    assert not specimen_of(frame, 50)[0, 0]
    assert specimen_of(frame, 50)[-1, -1]
    flat = without_void(frame.astype(np.float32), specimen_of(frame, 50), 64)
    assert flat[0, 0] == 0


def test_a_frame_that_is_all_void_has_no_power():
    np.testing.assert_array_equal(power_over_noise(stripes_frame(0, 16), 64, 16, BAND, 1e6), 0)


# ---- classes


@pytest.mark.parametrize("label", STRIPED)
def test_stripes_are_named_by_their_direction(label):
    frame = stripes_frame(DIRECTIONS[label] + 4, 15.5, amplitude=0.15)
    power = power_over_noise(frame, 64, 16, BAND)[None]
    known = learn(power, np.zeros(power.shape[:3], bool), BAND)
    assert known.labels[1] == label
    turned = direction_of(known.wave_vectors[0]) - DIRECTIONS[label] - 4
    assert (turned + 90) % 180 - 90 == pytest.approx(0, abs=1.5)
    assert 64 / np.hypot(*known.wave_vectors[0]) == pytest.approx(15.5, rel=0.03)


def test_noise_alone_has_no_classes():
    power = RNG.exponential(size=(4, 12, 12, len(BAND.frequencies))).astype(np.float32)
    known = first_guess(power.reshape(-1, power.shape[-1]), BAND)
    assert known.n_classes == 1
    assert learn(power, np.zeros(power.shape[:3], bool), BAND).n_classes == 1


def test_harmonics_are_no_classes():
    at = np.array([[3.0, 3.0], [6.0, 6.0], [0.0, 4.0]])
    mean = 1 + sum(h * bump(place, BAND, 0.6) for h, place in zip((9, 3, 2), at, strict=True))
    found = peaks(mean, BAND, 0.1)
    assert [tuple(peak) for peak in found] == [(3, 3), (0, 4)]


def test_frames_that_are_all_void_are_refused():
    power = np.ones((1, 4, 4, len(BAND.frequencies)), np.float32)
    with pytest.raises(ReproError, match="all void"):
        learn(power, np.ones((1, 4, 4), bool), BAND)


def known_classes(height=20.0):
    stripes = np.stack([height * bump(np.array(at), BAND) for at in ((4.0, 0.0), (0.0, 4.0))])
    n_states = 1 + 2 * len(AMPLITUDES)
    ones = np.ones(len(BAND.frequencies))
    return Stripes(BAND, ones, stripes, np.full(n_states, 1 / n_states))


def drawn(known, states, shape=(1,)):
    """Return power drawn from states of classes, ``(*shape, n_states, n_bins)``."""
    means = known.states[states]
    return RNG.exponential(size=(*shape, *means.shape)) * means


def test_the_likeliest_class_is_the_one_that_was_drawn_from():
    known = known_classes()
    full, faint = 1 + np.array([0, 1]) * len(AMPLITUDES) + 5, 1
    found = known.likelihoods(drawn(known, [0, faint, *full], (300,))).argmax(axis=-1)
    assert (found == [0, 0, 1, 2]).mean(axis=0).min() > 0.9


def test_class_shares_add_up():
    assert np.exp(known_classes().log_shares).sum() == pytest.approx(1)


def test_the_mean_frequency_is_that_of_the_power_whatever_its_sign():
    known = known_classes()
    for at in ((3.7, 0.3), (4.2, -0.4)):
        found = known.refined(np.array([4.0, 0.0]), bump(np.array(at), BAND)[None])[0]
        np.testing.assert_allclose(found, at, atol=0.15)


# ---- neighbours


def test_pooled_likelihoods_add_up_those_of_independent_neighbours():
    likelihoods = np.ones((5, 20, 20, 2))
    np.testing.assert_array_equal(pooled(likelihoods, EXTENTS[0]), likelihoods)
    grown = [pooled(likelihoods, extent)[2, 10, 10, 0] for extent in EXTENTS]
    assert all(np.diff(grown) >= 0)
    assert grown[-1] > 5


def test_sure_windows_ask_no_neighbours():
    sure = 20 * np.eye(2)[RNG.integers(0, 2, (3, 9, 9))]
    counted = np.ones(sure.shape[:3], bool)
    assert surest(sure, counted, 0.9)[0] == EXTENTS[0]
    assert surest(0.02 * sure, counted, 0.9)[0] == EXTENTS[-1]


def test_neighbours_mend_what_noise_spoils_and_leave_edges():
    known = known_classes()
    truth = np.zeros((7, 20, 20), int)
    truth[:, :, 10:] = 1
    likelihoods = 1.0 * np.eye(3)[truth] + RNG.normal(scale=1.0, size=(*truth.shape, 3))
    alone = (likelihoods.argmax(axis=-1) == truth).mean()
    found = settled(likelihoods, known, np.ones(truth.shape, bool))
    np.testing.assert_allclose(found.sum(axis=-1), 1)
    settled_share = (found.argmax(axis=-1) == truth).mean()
    assert alone < 0.8 < 0.97 < settled_share


# ---- void


def test_void_is_what_is_dark_apart():
    bright = RNG.normal(100, 15, 20000)
    with_void = np.concatenate([bright, RNG.normal(20, 3, 800)])
    assert 30 < darkness(with_void) < 60
    assert darkness(bright) < bright.min() + 5
    assert darkness(np.full(100, 7.0)) == -np.inf


# ---- a series


@pytest.fixture(scope="module")
def mapped():
    """A specimen in vacuum, its true classes, and what is found of it."""
    spec = get_study("domain_ae").data_spec.resolve("smoke", "vacuum")
    changes = {"size": 224, "heating": [23.0, 60.0, 100.0, 140.0, 220.0], "cooling": []}
    parameters = spec.parameters | changes
    made = frames(0, 5, 0, parameters)
    truth = [
        np.stack(a) for a in zip(*(window_labels(m, 64, 16) for m in made["labels"]), strict=True)
    ]
    return made, truth, find_domains(read_of(made["counts"]), 5, 64, 16), Series(**parameters)


def test_domains_are_found_without_labels(mapped):
    _, (labels, purity), found, _ = mapped
    pure = purity > 0.7
    assert (found.labels == labels)[pure].mean() > 0.93
    assert (found.labels == labels)[4].mean() > 0.97, "there are none at 220 °C"
    np.testing.assert_allclose(found.found.sum(axis=-1), 1, atol=1e-6)


def test_direction_and_period_are_those_of_the_bent_stripes(mapped):
    _, (labels, purity), found, series = mapped
    for label in STRIPED:
        counted = (labels == label) & (found.labels == label) & (purity > 0.7)
        if counted.sum() < 20:
            continue
        direction, period = (central_means(a, 64, 16) for a in series.specimen(0, 0).wave(label))
        off = (found.direction - direction + 90) % 180 - 90  # horizontal ones differ by 180°
        assert np.median(np.abs(off[counted])) < 5
        assert np.median(np.abs(64 * found.period / period - 1)[counted]) < 0.05
    assert np.isnan(found.direction[~np.isin(found.labels, (*AC, *AA))]).all()


def test_the_map_does_not_depend_on_the_unit_of_the_frames(mapped):
    made, _, found, _ = mapped
    again = find_domains(read_of(0.037 * made["counts"]), 5, 64, 16)
    assert np.mean(again.labels == found.labels) > 0.999


def test_a_series_without_stripes_has_no_domains():
    found = find_domains(lambda number: stripes_frame(0, 16), 2, 64, 16)
    assert set(np.unique(found.labels)) <= {VOID, NONE}
    assert np.isnan(found.direction).all()


def test_the_void_is_known(mapped):
    _, (labels, _), found, _ = mapped
    assert np.mean(found.is_void == (labels == VOID)) > 0.97
