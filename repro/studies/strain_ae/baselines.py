"""What classical means read off the same patterns: discs one by one, then a lattice through them.

Each takes patterns and what is known of the detector, and knows nothing else. A pattern is read
alone; memory grows with their number, so give long scans in pieces.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from scipy.fft import irfft2, next_fast_len, rfft2
from scipy.optimize import curve_fit

from repro.imaging.peaks import parabola_offset
from repro.studies.strain_ae.lattice import decomposed, sixfold, spots, turn
from repro.studies.strain_ae.simulate import Detector

LARGEST_RING = 4  # N of the outermost spots that are fitted: the third ring
ANGLE_STEP = np.deg2rad(1.0)  # of the first search
REACHES = (3.0, 1.5, 0.75)  # how far discs are sought, look after look [published pixels]
MARGIN = 2.0  # of a disc's surroundings, where the background is read [published pixels]
HYBRID_POWER = 0.7  # of the amplitudes: at 0 the correlation is of phases alone, at 1 a plain one
OUTLIER = 2.5  # residuals that count half, in units of the median one
N_FINE = 8  # points along each side of a pixel over which a disc is averaged
N_STEPS = 3  # of Gauss and Newton, each look


@dataclass(frozen=True)
class Setting:
    """What is known of the detector before the strain is.

    Parameters
    ----------
    pixel_size : float
        Side of a pixel [published pixels].
    centre_row, centre_column : float
        Place of the direct beam [pixels].
    first_ring : float
        |g| of the first ring of the undeformed lattice [published pixels].
    disc_radius : float
        Radius of a disc [published pixels].
    """

    pixel_size: float
    centre_row: float
    centre_column: float
    first_ring: float
    disc_radius: float

    @classmethod
    def of(cls, detector: Detector) -> Setting:
        """Return the setting of a detector that scans are simulated with."""
        centre = (detector.n_pixels - 1) / 2 + detector.beam_offset / detector.pixel_size
        return cls(detector.pixel_size, centre, centre, detector.first_ring, detector.disc_radius)

    @property
    def centre(self) -> np.ndarray:
        """Row and column of the direct beam, ``(2,)`` [pixels]."""
        return np.array([self.centre_row, self.centre_column])

    @property
    def spots(self) -> np.ndarray:
        """Spots of the undeformed lattice that are fitted, ``(n_spots, 2)`` [pixels]."""
        places, _, rings = spots(self.first_ring / self.pixel_size)
        return places[rings <= LARGEST_RING]

    @property
    def radius(self) -> float:
        """Radius of a disc [pixels]."""
        return self.disc_radius / self.pixel_size

    @property
    def half(self) -> int:
        """Pixels of a patch to each side of its middle: a disc fits in wherever it is sought."""
        return int(np.ceil(self.radius + (REACHES[0] + MARGIN) / self.pixel_size)) + 1

    @property
    def steps(self) -> np.ndarray:
        """Pixels of a patch along a side, from its middle, ``(p,)``."""
        return np.arange(-self.half, self.half + 1, dtype=np.float32)


@dataclass(frozen=True)
class Patches:
    """Pieces of patterns, each about a spot.

    Parameters
    ----------
    counts : numpy.ndarray
        ``(m, p, p)``, 0 outside the pattern.
    whole : numpy.ndarray
        Whether the pattern holds all of the patch, ``(m,)`` bool.
    expected : numpy.ndarray
        Where the disc should be, from the middle of the patch, ``(m, 2)`` [pixels].
    """

    counts: np.ndarray
    whole: np.ndarray
    expected: np.ndarray

    def distance(self, setting: Setting) -> np.ndarray:
        """Return how far each pixel is from where the disc should be, ``(m, p, p)`` [pixels]."""
        row, column = (setting.steps - self.expected[:, axis, None] for axis in (0, 1))
        return np.hypot(row[:, :, None], column[:, None, :])


Find = Callable[[Patches, Setting, float], np.ndarray]


def centre_of_mass(patterns: np.ndarray, setting: Setting) -> tuple[np.ndarray, np.ndarray]:
    """Return strain and rotation by the centres of mass of the discs.

    Parameters
    ----------
    patterns : numpy.ndarray
        ``(n, n_pixels, n_pixels)`` [electrons].
    setting : Setting
        Of the detector.

    Returns
    -------
    strain : numpy.ndarray
        ``(n, 3)``: ε_xx, ε_yy, ε_xy [1], x along the rows.
    rotation : numpy.ndarray
        ``(n,)`` [rad], from -π/6 to π/6: the lattice cannot tell sixths of a turn apart.
    """
    return read(patterns, setting, mass_centres)


def correlation(patterns: np.ndarray, setting: Setting) -> tuple[np.ndarray, np.ndarray]:
    """Return strain and rotation by correlation with a disc; see `centre_of_mass`."""
    return read(patterns, setting, correlation_peaks)


def phase_correlation(patterns: np.ndarray, setting: Setting) -> tuple[np.ndarray, np.ndarray]:
    """Return strain and rotation by hybrid correlation with a disc; see `centre_of_mass`."""
    return read(patterns, setting, phase_peaks)


def pseudo_voigt(patterns: np.ndarray, setting: Setting) -> tuple[np.ndarray, np.ndarray]:
    """Return strain and rotation by fits of a pseudo-Voigt profile; see `centre_of_mass`."""
    return read(patterns, setting, fitted_profiles)


def read(patterns: np.ndarray, setting: Setting, find: Find) -> tuple[np.ndarray, np.ndarray]:
    """Return strain and rotation from discs that are found; see `centre_of_mass`.

    Parameters
    ----------
    patterns, setting
        As in `centre_of_mass`.
    find : callable
        Takes patches, the setting and how far to look [pixels]; returns where the discs are, from
        the middles of the patches, ``(m, 2)`` [pixels].
    """
    deformations = turn(rotation_start(patterns, setting))
    for reach in REACHES:
        expected = np.einsum("nij,sj->nsi", deformations, setting.spots)
        patches, middles = cut(patterns, expected, setting)
        found = find(patches, setting, reach / setting.pixel_size).reshape(expected.shape)
        weights = precision(patches, setting).reshape(expected.shape[:2])
        deformations = lattice_fit(middles + found, weights, setting)
    strain, rotation = decomposed(deformations)
    return strain, sixfold(rotation)


def rotation_start(patterns: np.ndarray, setting: Setting) -> np.ndarray:
    """Return rotations of the undeformed lattice that fit best, ``(n,)`` [rad], from 0 to π/3.

    Parameters
    ----------
    patterns, setting
        As in `centre_of_mass`.
    """
    pixels, filters = turned_lattices(setting, patterns.shape[-1])
    seen = patterns.reshape(len(patterns), -1)[:, pixels].astype(np.float32)
    scores = seen @ filters
    best = scores.argmax(axis=1)
    n_angles = scores.shape[1]
    before, top, after = (scores[np.arange(len(best)), (best + i) % n_angles] for i in (-1, 0, 1))
    between = parabola_offset(before - after, before - 2 * top + after)
    return (best + between) * ANGLE_STEP % (np.pi / 3)


@lru_cache(maxsize=4)
def turned_lattices(setting: Setting, n_pixels: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the pixels that turned lattices cover ``(k,)``, and how ``(k, n_angles)``, float32."""
    angles = np.arange(0, np.pi / 3 - ANGLE_STEP / 2, ANGLE_STEP)
    places = np.einsum("aij,sj->asi", turn(angles), setting.spots) + setting.centre
    pixels = np.arange(n_pixels)
    filters = np.zeros((len(angles), n_pixels, n_pixels), dtype=np.float32)
    for spot in np.moveaxis(places, 1, 0):
        row, column = (pixels - spot[:, axis, None] for axis in (0, 1))
        away = np.hypot(row[:, :, None], column[:, None, :]) - setting.radius
        # strain moves discs: their edge is blurred by as much
        filters += np.clip(0.5 - away * setting.pixel_size / REACHES[0], 0, 1)
    flat = filters.reshape(len(angles), -1)
    covered = np.flatnonzero(flat.any(axis=0))
    return covered, np.ascontiguousarray(flat[:, covered].T)


def cut(patterns: np.ndarray, expected: np.ndarray, setting: Setting) -> tuple[Patches, np.ndarray]:
    """Return patches about the spots, and the middles of the patches.

    Parameters
    ----------
    patterns, setting
        As in `centre_of_mass`.
    expected : numpy.ndarray
        Where the spots should be, from the direct beam, ``(n, n_spots, 2)`` [pixels].

    Returns
    -------
    patches : Patches
        Of all spots of the first pattern, then of the second, and so on.
    middles : numpy.ndarray
        From the direct beam, ``(n, n_spots, 2)`` [pixels].
    """
    n_pixels = patterns.shape[-1]
    nearest = np.rint(expected + setting.centre).astype(int)
    steps = setting.steps.astype(int)
    rows, columns = (nearest[..., axis, None] + steps for axis in (0, 1))
    inside = [(at >= 0) & (at < n_pixels) for at in (rows, columns)]
    rows, columns = (np.clip(at, 0, n_pixels - 1) for at in (rows, columns))
    number = np.arange(len(patterns))[:, None, None, None]
    counts = patterns[number, rows[..., :, None], columns[..., None, :]].astype(np.float32)
    counts *= inside[0][..., :, None] & inside[1][..., None, :]
    middles = nearest - setting.centre
    patches = Patches(
        counts.reshape(-1, len(steps), len(steps)),
        (inside[0] & inside[1]).all(axis=2).ravel(),
        (expected - middles).reshape(-1, 2).astype(np.float32),
    )
    return patches, middles


def precision(patches: Patches, setting: Setting) -> np.ndarray:
    """Return weights of discs, ``(m,)``: s² / (s + 2 b) of counts s above a background b.

    A disc that is not wholly in the pattern has none.
    """
    distance = patches.distance(setting)
    inner, outer = distance < setting.radius, distance > setting.radius + 1 / setting.pixel_size
    inside, background = (mean_over(patches.counts, where) for where in (inner, outer))
    signal = np.maximum(inside - background, 0)
    tiny = np.finfo(np.float32).tiny
    return patches.whole * signal**2 / np.maximum(signal + 2 * background, tiny)


def mean_over(counts: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Return means of patches ``(m, p, p)`` over pixels of each, ``(m,)``."""
    return (counts * where).sum(axis=(1, 2)) / np.maximum(where.sum(axis=(1, 2)), 1)


def lattice_fit(places: np.ndarray, weights: np.ndarray, setting: Setting) -> np.ndarray:
    """Return the deformations that take the undeformed lattice nearest to discs, ``(n, 2, 2)``.

    Parameters
    ----------
    places : numpy.ndarray
        Discs of the spots, from the direct beam, ``(n, n_spots, 2)`` [pixels].
    weights : numpy.ndarray
        ``(n, n_spots)``, not below 0: how much each counts before outliers are told.
    setting : Setting
        Of the detector.
    """
    first = least_squares(places, weights, setting.spots)
    apart = places - np.einsum("nij,sj->nsi", first, setting.spots)
    residuals = weights * np.square(apart).sum(axis=2)
    typical = np.median(residuals, axis=1, keepdims=True) + np.finfo(np.float32).tiny
    return least_squares(places, weights / (1 + residuals / (OUTLIER**2 * typical)), setting.spots)


def least_squares(places: np.ndarray, weights: np.ndarray, lattice: np.ndarray) -> np.ndarray:
    """Return deformations by weighted least squares; see `lattice_fit`."""
    # all count a little, so that an empty pattern has an answer
    weights = weights + 1e-6 * weights.max(axis=1, keepdims=True) + np.finfo(np.float32).tiny
    cross = np.einsum("ns,nsi,sj->nij", weights, places, lattice)
    square = np.einsum("ns,si,sj->nij", weights, lattice, lattice)
    return cross @ np.linalg.inv(square)


def on_level_ground(patches: Patches, setting: Setting, reach: float) -> Patches:
    """Return patches without the plane through the surroundings of their discs.

    The background falls with the distance from the beam: level, it would draw discs inwards.
    """
    outside = patches.distance(setting) > setting.radius + reach
    outside = outside.reshape(len(patches.counts), -1).astype(np.float32)
    row, column = np.meshgrid(setting.steps, setting.steps, indexing="ij")
    ground = np.stack([np.ones_like(row), row, column]).reshape(3, -1)
    counts = patches.counts.reshape(outside.shape)
    products = (ground[:, None] * ground).reshape(9, -1)
    square = (outside @ products.T).reshape(-1, 3, 3)
    cross = (outside * counts) @ ground.T
    plane = np.linalg.solve(square, cross[..., None])[..., 0] @ ground
    return replace(patches, counts=(counts - plane).reshape(patches.counts.shape))


def mass_centres(patches: Patches, setting: Setting, reach: float) -> np.ndarray:
    """Return centres of mass about where the discs should be; see `read`."""
    level = on_level_ground(patches, setting, reach)
    above = level.counts * (level.distance(setting) < setting.radius + reach)
    total = above.sum(axis=(1, 2))[:, None]
    sums = [np.einsum(axes, above, setting.steps) for axes in ("mrc,r->m", "mrc,c->m")]
    moments = np.stack(sums, axis=1) - total * patches.expected
    moved = np.divide(moments, total, out=np.zeros_like(moments), where=total > 0)
    return patches.expected + np.clip(moved, -reach, reach)


def correlation_peaks(patches: Patches, setting: Setting, reach: float) -> np.ndarray:
    """Return where patches correlate best with a disc above its surroundings; see `read`."""
    bank = shifted_discs(setting, int(np.ceil(reach)) + 1)
    side = round(np.sqrt(bank.shape[1]))
    scores = patches.counts.reshape(len(patches.counts), -1) @ bank
    return peaks(scores.reshape(-1, side, side))


@lru_cache(maxsize=16)
def shifted_discs(setting: Setting, n_shifts: int) -> np.ndarray:
    """Return discs moved by whole pixels, ``(p * p, (2 * n_shifts + 1)**2)`` float32."""
    shifts = np.arange(-n_shifts, n_shifts + 1.0)
    row, column = (a.ravel() for a in np.meshgrid(shifts, shifts, indexing="ij"))
    discs = [disc(setting, *shift) for shift in zip(row, column, strict=True)]
    return np.stack(discs).reshape(len(discs), -1).T.astype(np.float32)


def disc(setting: Setting, row: float = 0.0, column: float = 0.0) -> np.ndarray:
    """Return a sharp disc of sum 1 less the ring about it, ``(p, p)``, at a place of a patch."""
    fine = (np.arange(N_FINE) + 0.5) / N_FINE - 0.5
    rows, columns = ((setting.steps - at)[:, None] + fine for at in (row, column))
    distance = np.hypot(rows[:, None, :, None], columns[None, :, None, :])
    ring = setting.radius + MARGIN / setting.pixel_size
    inside, about = ((distance < r).mean(axis=(2, 3)) for r in (setting.radius, ring))
    about = about - inside
    return inside / inside.sum() - about / about.sum()


def peaks(scores: np.ndarray) -> np.ndarray:
    """Return where scores are largest, off the edge, from their middle, ``(m, 2)`` [pixels]."""
    middle = scores.shape[1] // 2
    inner = scores[:, 1:-1, 1:-1].reshape(len(scores), -1)
    row, column = (at + 1 for at in np.divmod(inner.argmax(axis=1), scores.shape[2] - 2))
    number = np.arange(len(scores))
    top = scores[number, row, column]
    sides = [
        (scores[number, row - 1, column], scores[number, row + 1, column]),
        (scores[number, row, column - 1], scores[number, row, column + 1]),
    ]
    between = [parabola_offset(a - b, a - 2 * top + b) for a, b in sides]
    return np.stack([row, column], axis=1) - middle + np.stack(between, axis=1)


def phase_peaks(patches: Patches, setting: Setting, reach: float) -> np.ndarray:
    """Return peaks of the hybrid correlation of patches with a disc; see `read`."""
    template, taper = spectrum(setting)
    size = template.shape[0]
    level = np.median(patches.counts, axis=(1, 2), keepdims=True)
    product = rfft2((patches.counts - level) * taper, (size, size)) * template
    amplitude = np.abs(product)
    power = np.maximum(amplitude, np.finfo(np.float32).tiny) ** (HYBRID_POWER - 1)
    cross = irfft2(product * power, (size, size))
    n_shifts = int(np.ceil(reach)) + 1
    shifts = np.arange(-n_shifts, n_shifts + 1)
    return peaks(cross[:, shifts[:, None], shifts])


@lru_cache(maxsize=16)
def spectrum(setting: Setting) -> tuple[np.ndarray, np.ndarray]:
    """Return the conjugate spectrum of a disc, complex64, and a taper of patches, float32."""
    n_steps = len(setting.steps)
    size = next_fast_len(n_steps, real=True)
    template = np.conj(rfft2(disc(setting), (size, size)))
    taper = np.sqrt(np.hanning(n_steps + 2)[1:-1])
    return template.astype(np.complex64), np.outer(taper, taper).astype(np.float32)


def fitted_profiles(patches: Patches, setting: Setting, reach: float) -> np.ndarray:
    """Return centres of pseudo-Voigt profiles that are fitted to patches; see `read`.

    Place, height and background of each are free. The shape is that of a disc of the known radius:
    a free one follows the noise of weak discs.
    """
    patches = on_level_ground(patches, setting, reach)
    within = patches.distance(setting) < setting.radius + reach
    counts = (patches.counts * within).reshape(len(within), -1, 1)
    within = within.reshape(len(within), 1, -1)
    moved = np.zeros_like(patches.expected)
    for _ in range(N_STEPS):
        design = within * linearised_profile(patches.expected + moved, setting)
        solved = np.linalg.solve(design @ design.swapaxes(1, 2), design @ counts)[..., 0]
        height, slopes = solved[:, 1:2], solved[:, 2:]
        step = np.divide(slopes, height, out=np.zeros_like(slopes), where=height > 0)
        moved = np.clip(moved + np.clip(step, -0.5, 0.5), -reach, reach)
    return patches.expected + moved


def linearised_profile(places: np.ndarray, setting: Setting) -> np.ndarray:
    """Return 1, the profile at places ``(m, 2)``, and its change with each, ``(m, 4, p * p)``."""
    width, mix = shape_of_disc(setting)
    down, across = (setting.steps - places[:, axis, None] for axis in (0, 1))
    u = (down[:, :, None] ** 2 + across[:, None, :] ** 2) / width**2
    lorentzian, gaussian = 1 / (1 + u), np.exp(-np.log(2) * u)
    value = mix * lorentzian + (1 - mix) * gaussian
    slope = 2 / width**2 * (mix * lorentzian**2 + (1 - mix) * np.log(2) * gaussian)
    terms = [np.ones_like(u), value, slope * down[:, :, None], slope * across[:, None, :]]
    return np.stack(terms, axis=1).reshape(len(places), 4, -1)


@lru_cache(maxsize=16)
def shape_of_disc(setting: Setting) -> tuple[float, float]:
    """Return half-width [pixels] and mix of the pseudo-Voigt profile that is nearest to a disc.

    The mix is below 0: a disc is flatter than a Gaussian.
    """
    distance = np.hypot(setting.steps[:, None], setting.steps).ravel()
    inside = distance < setting.radius + MARGIN / setting.pixel_size

    def profile(r, height, width, mix):
        u = (r / width) ** 2
        return height * (mix / (1 + u) + (1 - mix) * np.exp(-np.log(2) * u))

    covered = np.maximum(disc(setting), 0).ravel()
    start = (covered.max(), setting.radius, 0.0)
    fitted, _ = curve_fit(profile, distance[inside], covered[inside], start)
    return fitted[1], fitted[2]


BASELINES: dict[str, Callable[[np.ndarray, Setting], tuple[np.ndarray, np.ndarray]]] = {
    "centre_of_mass": centre_of_mass,
    "correlation": correlation,
    "phase_correlation": phase_correlation,
    "pseudo_voigt": pseudo_voigt,
}
