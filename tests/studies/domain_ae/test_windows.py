"""Windows of a frame, their labels and their spectra."""

import numpy as np
import pytest

from repro.errors import ReproError
from repro.studies.domain_ae.specimen import AC, NONE, VOID
from repro.studies.domain_ae.windows import (
    cut,
    enlargement,
    flattened,
    noise_of,
    over_noise,
    ranged,
    rows_of_spectra,
    starts,
    taper,
    window_labels,
)

RNG = np.random.default_rng(0)
FRAME = RNG.normal(size=(100, 120)).astype(np.float32)


@pytest.mark.parametrize(
    ("size", "window", "step", "n"), [(1400, 128, 32, 41), (512, 64, 16, 29), (64, 64, 16, 1)]
)
def test_windows_reach_from_edge_to_edge(size, window, step, n):
    first = starts(size, window, step)
    assert len(first) == n
    assert first[0] == 0
    assert first[-1] + window == size
    assert np.all(np.diff(first) > 0)


def test_a_window_larger_than_the_frame_is_refused():
    with pytest.raises(ReproError, match="40 pixels is smaller than a window, 64"):
        starts(40, 64, 16)


@pytest.mark.parametrize("is_tapered", [True, False])
def test_spectra_are_those_of_a_fast_fourier_transform(is_tapered):
    window, step, reach = 32, 12, 7
    fade = taper(window) if is_tapered else np.ones(window)
    rows = list(rows_of_spectra(FRAME, window, step, reach, is_tapered))
    down, right = starts(100, window, step), starts(120, window, step)
    assert len(rows) == len(down)
    for top, row in zip(down, rows, strict=True):
        assert row.shape == (len(right), reach + 1, 2 * reach + 1)
        for left, found in zip(right, row, strict=True):
            tile = FRAME[top : top + window, left : left + window] * np.outer(fade, fade)
            expected = np.fft.fft2(tile)[: reach + 1, np.arange(-reach, reach + 1)]
            np.testing.assert_allclose(found, expected, atol=2e-4)


def test_spectra_are_made_a_row_of_windows_at_a_time():
    rows = rows_of_spectra(FRAME, 32, 12, 7)
    assert next(rows).nbytes < FRAME.size * 8 * 2
    assert iter(rows) is rows, "no row is made before it is asked for"


def test_a_stripe_shows_at_its_frequency_whatever_its_phase():
    for phase in (0.0, 1.0, 2.0):
        rows = np.arange(64)[:, None] * np.ones(64)
        row = next(rows_of_spectra(np.cos(2 * np.pi * rows / 16 + phase), 64, 64, 10))
        power = np.abs(row[0]) ** 2
        assert np.unravel_index(power.argmax(), power.shape) == (4, 10)
        assert power.max() == pytest.approx((64 / 2 * 64 / 4) ** 2, rel=1e-3)


def test_windows_are_cut_where_they_begin():
    found = cut(FRAME, np.array([3, 5]), np.array([0, 7]), 32)
    np.testing.assert_array_equal(found[0], FRAME[3:35, :32])
    np.testing.assert_array_equal(found[1], FRAME[5:37, 7:39])


def test_a_window_is_of_the_commonest_class_of_its_central_half():
    labels = np.full((64, 64), NONE, np.uint8)
    labels[:, 35:] = AC[0]
    label, purity = window_labels(labels, 64, 16)
    assert label.shape == (1, 1)
    # The central half is columns 16 to 47: 19 of 32 have no domain.
    assert label[0, 0] == NONE
    assert purity[0, 0] == pytest.approx(19 / 32)
    labels[:16], labels[:, :16] = VOID, VOID
    assert window_labels(labels, 64, 16)[1][0, 0] == pytest.approx(19 / 32)


def test_the_background_is_taken_off_and_stripes_stay():
    places = np.indices((256, 256))[0]
    stripes = np.cos(2 * np.pi * places / 16)
    background = 50 + 5 * np.sin(2 * np.pi * places / 256)
    inner = np.s_[60:-60]
    left = flattened(background + stripes, 64)[inner]
    assert np.std(left - stripes[inner]) < 0.5
    assert np.dot(left.ravel(), stripes[inner].ravel()) / np.sum(stripes[inner] ** 2) > 0.95


def test_a_published_frame_fills_the_range():
    found = ranged(FRAME, 64)
    assert (found.min(), found.max()) == (0, 1)


def test_noise_is_told_from_slopes_and_stripes():
    places = np.indices((300, 300)).sum(axis=0)
    signal = 0.1 * places + 0.5 * np.cos(2 * np.pi * places / 20)
    noise = RNG.normal(scale=2.0, size=(300, 300))
    assert noise_of(signal + noise) == pytest.approx(2.0, rel=0.03)
    assert over_noise(noise, 64).std() == pytest.approx(1, rel=0.03)


@pytest.mark.parametrize("prepare", [ranged, over_noise])
def test_a_constant_frame_is_refused(prepare):
    with pytest.raises(ReproError, match="constant"):
        prepare(np.full((80, 80), 7.0), 64)


@pytest.mark.parametrize(("n", "size"), [(64, 147), (147, 128)])
def test_tiles_are_interpolated_as_by_scikit_image(n, size):
    from skimage.transform import resize

    tile = RNG.normal(size=(n, n))
    matrix = enlargement(n, size)
    expected = resize(tile, (size, size), order=1, anti_aliasing=False)
    np.testing.assert_allclose(matrix @ tile @ matrix.T, expected, atol=1e-5)
