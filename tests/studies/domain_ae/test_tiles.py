"""What the networks see of a window."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from repro.studies.domain_ae.tiles import MODULUS, REAL_PART, Reading, Tile, in_band
from repro.studies.domain_ae.windows import taper

RNG = np.random.default_rng(0)
PUBLISHED = Reading(128, 32, 64, REAL_PART, False, interpolated=(147, 128))
CORRECTED = Reading(64, 16, 24, MODULUS, True, band=(1.0, 10.0), counts_noise=True)


def tiles(reading, windows):
    return keras.ops.convert_to_numpy(Tile(reading)(np.asarray(windows, np.float32)))[..., 0]


def test_the_published_tile_is_that_of_the_published_steps():
    from skimage.transform import resize

    window = 0.5 + 0.1 * RNG.normal(size=(128, 128))
    spectrum = np.fft.fftshift(np.fft.fft2(window))[32:96, 32:96]
    grown = resize(spectrum.real, (147, 147), order=1, anti_aliasing=False)
    shrunk = resize(np.abs(grown), (128, 128), order=1, anti_aliasing=True)
    expected = np.minimum(np.log1p(shrunk), 5)
    found = tiles(PUBLISHED, window[None])[0]
    assert found.shape == (128, 128)
    assert np.sqrt(np.mean((found - expected) ** 2)) < 0.02, "anti-aliasing moves little"
    assert found.max() == 5, "the direct term is clipped"


def test_the_published_tile_of_noise_has_the_published_quantiles():
    noise = 0.5 + RNG.normal(scale=4.2 / 52, size=(8, 128, 128))
    amplitudes = np.expm1(tiles(PUBLISHED, noise))
    at = np.quantile(amplitudes, [0.05, 0.25, 0.75, 0.95]) / np.median(amplitudes)
    # Of the fact sheet, white noise through |Re F|: not those of |F|, 0.54 and 1.47 at the ends.
    np.testing.assert_allclose(at, [0.26, 0.60, 1.59, 2.69], rtol=0.12)


def shifted(reading, by):
    """Return how far tiles of two shifted stripes lie apart, over how they differ from none."""
    places = np.indices((reading.window, reading.window))[0]
    period = reading.window / 4
    stripes = [0.5 + 0.2 * np.cos(2 * np.pi * (places + s) / period) for s in (0, by * period)]
    one, other, none = tiles(reading, [*stripes, np.full_like(stripes[0], 0.5)])
    return np.abs(one - other).max() / np.abs(one - none).max()


def test_the_real_part_depends_on_where_stripes_lie_and_the_modulus_does_not():
    assert shifted(PUBLISHED, 0.25) > 0.5
    assert shifted(replace(PUBLISHED, part=MODULUS), 0.25) < 0.01
    assert shifted(CORRECTED, 0.25) < 0.05


def test_the_corrected_tile_is_the_spectrum_in_its_band():
    window = RNG.normal(size=(64, 64))
    fade = np.outer(taper(64), taper(64))
    spectrum = np.fft.fftshift(np.fft.fft2((window - window.mean()) * fade))[20:44, 20:44]
    expected = np.log1p(CORRECTED.gain * np.abs(spectrum)) * in_band(24, 1, 10)
    np.testing.assert_allclose(tiles(CORRECTED, window[None])[0], expected, atol=1e-4)


def test_noise_of_one_is_as_high_as_published():
    noise = RNG.normal(size=(40, 64, 64))
    found = tiles(replace(CORRECTED, band=None), noise)
    assert np.median(np.expm1(found)) == pytest.approx(4.2, rel=0.03)


def test_a_band_is_a_ring():
    ring = in_band(24, 1, 10)
    assert ring[12, 12] == 0
    assert ring[12, 13] == 0
    assert ring[12, 22] == 1
    assert ring[0, 12] == 0
    np.testing.assert_array_equal(ring, ring.T)


def test_a_tapered_spectrum_fades_towards_its_edges():
    reading = replace(PUBLISHED, interpolated=(), n_bins=32)
    noise = RNG.normal(size=(20, 128, 128))
    plain = np.expm1(tiles(reading, noise)).mean(axis=0)
    faded = np.expm1(tiles(replace(reading, tapers_spectrum=True), noise)).mean(axis=0)
    assert (faded / plain)[0, 0] == pytest.approx(0.08, abs=0.01)
    assert (faded / plain)[16, 16] == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("reading", [PUBLISHED, CORRECTED])
def test_the_layer_comes_back_from_its_configuration(reading):
    again = Tile.from_config(Tile(reading).get_config())
    assert again.reading == reading
    assert again.compute_output_shape((3, 1, 1))[1] == reading.side
