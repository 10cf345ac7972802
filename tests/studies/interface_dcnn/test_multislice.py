"""Waves against a slow multislice over the whole plane, closed forms, and each other."""

import dataclasses

import numpy as np
import pytest
import scipy.fft

from repro.errors import ReproError
from repro.studies.interface_dcnn import fourier, multislice
from repro.studies.interface_dcnn.multislice import (
    Detector,
    JaxWaves,
    Microscope,
    NumpyWaves,
    Passes,
    Setting,
    probe_spectra,
    propagator,
)
from repro.studies.interface_dcnn.potential import (
    Grid,
    projected_potential,
    transmission_function,
)

SIDE, N_POINTS = 12.0, 80  # [Å]
GRID = Grid((N_POINTS, N_POINTS), (SIDE, SIDE))
THICKNESS = 1.9525  # of a slice [Å]
MICROSCOPE = Microscope(100.0, 30.0)
N_PIXELS = 53  # those below the band limit: each is a bin of this detector
EVERY_PIXEL = Detector(N_PIXELS, N_PIXELS / (2 * SIDE))
FREE = np.ones((1, N_POINTS, N_POINTS), dtype=np.complex64)
LINES = np.array([[[1.0 + 0.7 * i, 3.0 + 2.5 * line] for i in range(6)] for line in range(2)])


@pytest.fixture(params=[NumpyWaves, JaxWaves])
def waves(request):
    return request.param


@pytest.fixture(scope="module")
def pool():
    """Return transmission functions of three slices with atoms anywhere."""
    return np.stack([atoms_anywhere(GRID, seed) for seed in range(3)])


@pytest.fixture(scope="module")
def heavy():
    """Return the transmission function of a slice with an atom below every probe of a line."""
    return transmission_function(GRID, projected_potential(GRID, {"La": LINES[0]}), 100.0)


def atoms_anywhere(grid, seed):
    rng = np.random.default_rng(seed)
    atoms = {element: rng.random((9, 2)) * SIDE for element in ("Sr", "Ti", "O")}
    return transmission_function(grid, projected_potential(grid, atoms), 100.0)


def setting(*readouts, grid=GRID, thickness=THICKNESS, detector=EVERY_PIXEL):
    return Setting(grid, 100.0, thickness, detector, readouts)


def probes_at(positions, grid=GRID, microscope=MICROSCOPE):
    flat = probe_spectra(grid, microscope, positions.reshape(-1, 2))
    return flat.reshape(*positions.shape[:2], *grid.shape)


def in_order(*rows, n_lines=1):
    """Return a single pass through functions of the pool, unshifted."""
    transmission = np.tile(rows, (n_lines, 1, 1))
    return Passes(transmission, np.zeros_like(transmission))


def drawn(n_lines, n_passes, n_slices, seed=0):
    """Return passes through a pool of three, shifted by quarters of the cell."""
    rng = np.random.default_rng(seed)
    shape = (n_lines, n_passes, n_slices)
    return Passes(rng.integers(3, size=shape), rng.integers(4, size=shape) * (N_POINTS // 4))


def intensity(spectra):
    """Return intensities at the pixels of `EVERY_PIXEL`."""
    centred = np.fft.fftshift(np.abs(spectra) ** 2, axes=(-2, -1))
    middle = slice(N_POINTS // 2 - N_PIXELS // 2, N_POINTS // 2 + N_PIXELS // 2 + 1)
    return centred[..., middle, middle]


def through(spectra, function, step):
    """Take waves through one slice, over the whole plane in double precision."""
    return np.fft.fft2(np.fft.ifft2(spectra) * function) * step


def slow_patterns(setting, pool, probes, passes):
    """Return the patterns after the last slice, line by line, pass by pass, probe by probe."""
    mean = np.zeros((*probes.shape[:2], N_PIXELS, N_PIXELS))
    for line, number, probe in np.ndindex(len(probes), passes.number, probes.shape[1]):
        spectrum = probes[line, probe].astype(np.complex128)
        slices = zip(passes.transmission[line, number], passes.shift[line, number], strict=True)
        for row, shift in slices:
            spectrum = through(spectrum, np.roll(pool[row], -shift, axis=1), setting.propagator)
        mean[line, probe] += intensity(spectrum) / passes.number
    return mean


def relative_error(values, expected):
    return np.linalg.norm(values - expected) / np.linalg.norm(expected)


# Waves


def test_patterns_equal_a_slow_multislice_over_the_whole_plane(waves, pool):
    probes, passes, depth = probes_at(LINES), drawn(2, 3, 8), setting(8)
    patterns, _ = waves(depth, pool).patterns(probes, passes)
    assert (patterns.shape, patterns.dtype) == ((1, 2, 6, N_PIXELS, N_PIXELS), np.float32)
    assert relative_error(patterns[0], slow_patterns(depth, pool, probes, passes)) < 1e-5


def test_processor_and_jax_agree_on_a_grid_whose_sides_differ(pool):
    grid = Grid((96, 80), (19.18, 15.62))
    functions = np.stack([atoms_anywhere(grid, seed) for seed in range(3)])
    depths = setting(3, 10, grid=grid, detector=Detector(16, 1.1))
    probes, passes = probes_at(LINES, grid), drawn(2, 3, 10)
    ours, theirs = (w(depths, functions).patterns(probes, passes) for w in (NumpyWaves, JaxWaves))
    for processor, jax in zip(ours, theirs, strict=True):
        assert processor.shape == jax.shape
        assert processor.dtype == jax.dtype == np.float32
        assert relative_error(processor, jax) < 1e-5


@pytest.mark.skipif(not fourier.HAS_MKL, reason="mkl_fft is missing: the transforms are SciPy's")
def test_patterns_are_the_same_with_the_transforms_of_mkl_and_of_scipy(pool, monkeypatch):
    probes, passes = probes_at(LINES), drawn(2, 2, 8)
    with_mkl, _ = NumpyWaves(setting(8), pool).patterns(probes, passes)
    calls = []

    def transform(rows, out):
        calls.append("forward")
        out[...] = scipy.fft.fft(rows, axis=-1)

    def invert(rows, out):
        calls.append("back")
        out[...] = scipy.fft.ifft(rows, axis=-1)

    monkeypatch.setattr(multislice, "transform_rows", transform)
    monkeypatch.setattr(multislice, "invert_rows", invert)
    with_scipy, _ = NumpyWaves(setting(8), pool).patterns(probes, passes)
    assert {"forward", "back"} == set(calls)
    assert 0 < relative_error(with_mkl, with_scipy) < 1e-5


def test_without_potential_waves_propagate_freely(waves, heavy):
    # A last slice makes the phases visible that the waves have before it.
    probes, depth = probes_at(LINES[:1]), setting(8, 9)
    patterns, transmitted = waves(depth, np.stack([FREE[0], heavy])).patterns(
        probes, in_order(*[0] * 8, 1)
    )
    propagated = probes * depth.propagator.astype(np.complex128) ** 8
    np.testing.assert_allclose(patterns[0], intensity(probes), atol=1e-7)
    np.testing.assert_allclose(transmitted[0], 1, atol=1e-5)
    expected = intensity(through(propagated, heavy, depth.propagator))
    unpropagated = intensity(through(probes, heavy, depth.propagator))
    assert relative_error(patterns[1], expected) < 1e-5
    assert relative_error(patterns[1], unpropagated) > 0.1, "eight slices did not show"


def test_a_thin_object_is_the_phase_grating(waves, pool):
    probes = probes_at(LINES[:1])
    thin = setting(1, thickness=1e-9)
    patterns, _ = waves(thin, pool).patterns(probes, in_order(2))
    grating = np.fft.fft2(pool[2] * np.fft.ifft2(probes)) * GRID.band
    assert relative_error(patterns[0], intensity(grating)) < 1e-5


def test_a_smooth_phase_object_loses_no_electron(waves):
    y = np.arange(N_POINTS) / N_POINTS
    function = np.exp(0.3j * np.cos(2 * np.pi * y)).astype(np.complex64) * FREE
    patterns, transmitted = waves(setting(6), function).patterns(
        probes_at(LINES), in_order(*[0] * 6, n_lines=2)
    )
    np.testing.assert_allclose(transmitted, 1, atol=1e-5)
    np.testing.assert_allclose(patterns.sum(axis=(-2, -1)), 1, atol=1e-5)


def test_patterns_lose_what_the_band_limit_takes_and_no_more(waves, heavy):
    # Counted in double precision: what is scattered beyond the limit, and what the transmission
    # function, limited itself, has lost before.
    probes, step = probes_at(LINES[:1]), setting(1).propagator
    spectra, taken = probes.astype(np.complex128), 0.0
    for _ in range(5):
        electrons = np.abs(np.fft.ifft2(spectra)) ** 2 * GRID.k.size
        scattered = np.abs(through(spectra, heavy, 1)) ** 2
        taken += np.sum(electrons * (1 - np.abs(heavy) ** 2), axis=(-2, -1))
        taken += np.sum(scattered * (1 - GRID.band**2), axis=(-2, -1))
        spectra = through(spectra, heavy, step)
    patterns, transmitted = waves(setting(5), heavy[None]).patterns(probes, in_order(*[0] * 5))
    assert (transmitted < 0.98).all(), "hardly anything was lost: nothing is shown"
    np.testing.assert_allclose(transmitted[0] + taken, 1, atol=1e-5)
    np.testing.assert_allclose(patterns.sum(axis=(-2, -1)), transmitted, rtol=1e-5)


def test_patterns_sum_to_one_at_most_and_less_with_depth(waves, pool):
    _, transmitted = waves(setting(1, 4, 16), pool).patterns(probes_at(LINES), drawn(2, 2, 16))
    # A transmission function within the band swings a little above 1 beside an atom.
    assert transmitted.max() < 1 + 3e-5
    assert (np.diff(transmitted, axis=0) < 0).all()


def test_a_finer_grid_loses_less(pool):
    fine = Grid((2 * N_POINTS, 2 * N_POINTS), GRID.size)
    lost = [
        1
        - NumpyWaves(setting(6, grid=grid), atoms_anywhere(grid, 0)[None]).patterns(
            probes_at(LINES[:1], grid), in_order(*[0] * 6)
        )[1]
        for grid in (GRID, fine)
    ]
    assert (lost[1] > 0).all()
    assert (lost[1] < 0.5 * lost[0]).all()


def test_readouts_equal_separate_shorter_runs(waves, pool):
    probes, passes, depths = probes_at(LINES), drawn(2, 2, 9), (2, 3, 9)
    together = waves(setting(*depths), pool).patterns(probes, passes)
    for row, depth in enumerate(depths):
        part = Passes(passes.transmission[..., :depth], passes.shift[..., :depth])
        alone = waves(setting(depth), pool).patterns(probes, part)
        for all_depths, single in zip(together, alone, strict=True):
            np.testing.assert_allclose(all_depths[row], single[0], rtol=1e-5, atol=1e-9)


def test_a_shift_by_whole_cells_rolls_the_transmission_function(waves, pool):
    probes, passes = probes_at(LINES[:1]), drawn(1, 1, 6)
    rows, shifts = passes.transmission[0, 0], passes.shift[0, 0]
    rolled = np.stack([np.roll(pool[r], -s, axis=1) for r, s in zip(rows, shifts, strict=True)])
    shifted, _ = waves(setting(6), pool).patterns(probes, passes)
    expected, _ = waves(setting(6), rolled).patterns(probes, in_order(*range(6)))
    assert len(set(shifts)) > 1
    np.testing.assert_allclose(shifted, expected, rtol=1e-5, atol=1e-9)


def test_a_crystal_shifted_below_the_probe_is_a_probe_moved_the_other_way(waves, pool):
    quarter = np.full((1, 1, 5), N_POINTS // 4)
    rows = np.array([[[0, 1, 2, 1, 0]]])
    crystal, _ = waves(setting(5), pool).patterns(probes_at(LINES[:1]), Passes(rows, quarter))
    probe, _ = waves(setting(5), pool).patterns(
        probes_at(LINES[:1] + np.array([0, SIDE / 4])), Passes(rows, 0 * quarter)
    )
    assert relative_error(crystal, probe) < 1e-5


def test_patterns_are_the_mean_over_passes_and_each_line_has_its_own(waves, pool):
    passes, crystal = drawn(2, 3, 5), waves(setting(5), pool)
    together = crystal.patterns(probes_at(LINES), passes)
    for line in range(2):
        runs = [
            crystal.patterns(
                probes_at(LINES[[line]]),
                Passes(*(a[[line], None, number] for a in (passes.transmission, passes.shift))),
            )
            for number in range(3)
        ]
        for mean, *single in zip(together, *runs, strict=True):
            expected = np.mean(single, axis=0)
            np.testing.assert_allclose(mean[:, [line]], expected, rtol=1e-5, atol=1e-9)


@pytest.mark.slow
def test_noise_of_phonons_falls_with_the_root_of_the_passes(pool):
    n_lines, position = 200, LINES[:1, 3:4]
    probes = np.repeat(probes_at(position), n_lines, axis=0)
    waves = NumpyWaves(setting(4, detector=Detector(8, 1.1)), pool)
    few, many = (
        waves.patterns(probes, drawn(n_lines, n_passes, 4, seed=n_passes))[0][0, :, 0]
        for n_passes in (1, 4)
    )
    # The variance of 200 patterns is known to 10 % in each bin, better in all together.
    ratio = np.sqrt(few.var(axis=0).sum() / many.var(axis=0).sum())
    assert ratio == pytest.approx(2, rel=0.15)


# Probes and propagation


def test_a_probe_holds_one_electron_within_its_aperture():
    spectra = probes_at(LINES)
    assert spectra.dtype == np.complex64
    np.testing.assert_allclose(np.sum(np.abs(spectra) ** 2, axis=(-2, -1)), 1, rtol=1e-5)
    outside = GRID.k > MICROSCOPE.aperture + 1 / SIDE
    assert (spectra[..., outside] == 0).all()
    n_pixels = np.sum(np.abs(spectra[0, 0]) / np.abs(spectra[0, 0]).max())
    assert n_pixels == pytest.approx(np.pi * (MICROSCOPE.aperture * SIDE) ** 2, rel=0.02)


def test_aperture_is_the_semiangle_over_the_wavelength():
    assert MICROSCOPE.aperture == pytest.approx(0.030 / 0.0370144, rel=1e-5)


def test_a_probe_is_brightest_at_its_position():
    point = SIDE / N_POINTS
    probe = np.fft.ifft2(probe_spectra(GRID, MICROSCOPE, point * np.array([[17, 62]]))[0])
    assert np.unravel_index(np.abs(probe).argmax(), GRID.shape) == (17, 62)


def test_a_defocused_probe_comes_to_focus_as_far_below():
    above = dataclasses.replace(MICROSCOPE, defocus=40.0)
    focused = probes_at(LINES, microscope=above) * propagator(GRID, 100.0, 40.0)
    np.testing.assert_allclose(focused, probes_at(LINES), atol=1e-6)
    unfocused = np.abs(np.fft.ifft2(probes_at(LINES, microscope=above))).max()
    assert unfocused < 0.8 * np.abs(np.fft.ifft2(focused)).max()


def test_propagation_turns_phases_by_pi_lambda_z_k_squared():
    k = GRID.frequencies[0][5, 0]
    turned = propagator(GRID, 100.0, 7.0)[5, 0]
    assert turned == pytest.approx(np.exp(-1j * np.pi * 0.0370144 * 7.0 * k**2), abs=1e-6)


def test_propagation_in_steps_is_propagation_at_once():
    inside = GRID.band == 1
    in_steps = propagator(GRID, 100.0, 2.0) ** 5
    np.testing.assert_allclose(in_steps[inside], propagator(GRID, 100.0, 10.0)[inside], atol=2e-6)


# Detector


@pytest.mark.parametrize("n_bins", [1, 2, 7, 16, 100])
@pytest.mark.parametrize("k_max", [0.3, 1.1, 2.2])
def test_bins_share_a_pixel_without_losing_or_adding(n_bins, k_max):
    width = 1 / SIDE
    k = np.fft.fftfreq(N_POINTS, SIDE / N_POINTS)
    shares = Detector(n_bins, k_max).shares(k, width)
    assert shares.shape == (n_bins, N_POINTS)
    assert shares.min() >= 0
    within = np.clip(k_max - np.abs(k) + width / 2, 0, width) / width
    np.testing.assert_allclose(shares.sum(axis=0), within, atol=1e-12)


def test_uniform_intensity_fills_all_bins_alike():
    grid = Grid((96, 80), (19.18, 15.62))
    bins_x, bins_y = setting(1, grid=grid, detector=Detector(16, 1.1)).bins()
    patterns = bins_x @ np.ones(grid.shape, dtype=np.float32) @ bins_y.T
    pixels_of_a_bin = (2 * 1.1 / 16) ** 2 * np.prod(grid.size)
    np.testing.assert_allclose(patterns, pixels_of_a_bin, rtol=1e-5)


def test_bins_hold_what_falls_on_the_detector_in_the_right_place():
    bins_x, bins_y = setting(1, detector=Detector(4, 1.0)).bins()
    plane = np.zeros(GRID.shape, dtype=np.float32)
    k_x, k_y = GRID.frequencies
    plane[(k_x > -0.9) & (k_x < -0.6) & (k_y > 0.1) & (k_y < 0.4)] = 1
    expected = np.zeros((4, 4))
    expected[0, 2] = plane.sum()
    np.testing.assert_allclose(bins_x @ plane @ bins_y.T, expected, rtol=1e-5, atol=1e-5)


def test_centres_of_bins_are_their_middles():
    np.testing.assert_allclose(Detector(4, 1.0).centres, [-0.75, -0.25, 0.25, 0.75])


# Bad input


def test_a_grid_too_coarse_for_the_aperture_is_refused_with_the_numbers():
    with pytest.raises(
        ReproError, match=r"40 by 40 points carries waves up to 41\.1 mrad, too little.* 38 mrad"
    ):
        probe_spectra(Grid((40, 40), GRID.size), Microscope(100.0, 38.0), np.zeros((1, 2)))


def test_a_detector_beyond_the_band_limit_is_refused_with_the_numbers():
    with pytest.raises(ReproError, match=r"reaches to 2\.3 Å⁻¹.* up to 2\.222 Å⁻¹ only"):
        setting(1, detector=Detector(32, 2.3))


@pytest.mark.parametrize("position", [(-0.1, 3.0), (3.0, SIDE), (np.nan, 3.0)])
def test_a_probe_outside_the_cell_is_refused_with_its_place(position):
    x, y = position
    with pytest.raises(ReproError, match=rf"probe at \({x:.3f}, {y:.3f}\) Å stands outside"):
        probe_spectra(GRID, MICROSCOPE, np.array([[1.0, 1.0], position]))


@pytest.mark.parametrize("probe", [(0.0, 30.0), (100.0, -1.0), (np.nan, 30.0)])
def test_a_probe_that_cannot_be_is_refused(probe):
    with pytest.raises(ReproError, match="does not exist: both are numbers above 0"):
        Microscope(*probe)


# Which waves


def test_waves_are_jaxs_on_a_gpu_and_the_processors_else(pool, monkeypatch):
    for has_gpu, kind in ((True, JaxWaves), (False, NumpyWaves)):
        monkeypatch.setattr(multislice, "has_gpu", lambda found=has_gpu: found)
        assert type(multislice.waves(setting(1), pool)) is kind


def test_without_jax_there_is_no_gpu(monkeypatch):
    monkeypatch.setattr(multislice.importlib.util, "find_spec", lambda name: None)
    multislice.has_gpu.cache_clear()
    assert multislice.has_gpu() is False
    multislice.has_gpu.cache_clear()
