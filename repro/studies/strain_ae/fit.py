"""Strain and rotation of patterns by a fit of disc templates: plain NumPy, no network.

A pattern is a background and a disc at every spot of the deformed lattice. A search over rotation
gives a start; Fisher scoring finishes: least squares whose weights are the Poisson variances of the
model as it stands, which leads to the most likely parameters. Only pixels near discs are read.

Lengths on the detector are in pixels of the patterns.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np

from repro.errors import ReproError
from repro.seeds import generator
from repro.studies.strain_ae.lattice import (
    COMPONENTS,
    decomposed,
    deformation,
    matrix,
    sixfold,
    spots,
    turn,
)

SIXTH, THIRD = np.pi / 3, 2 * np.pi / 3  # turns [rad]
FINE = 60  # steps in which a template is tabulated, per disc radius
LARGEST_STEP = 0.02  # of a parameter [1 and rad]
WEAKEST = 1e-3  # least variance of a pixel, of the brightest disc's
REGULAR = 1.0  # information that every parameter has at least, in a pattern that tells nothing
PATTERNS_AT_ONCE = 32  # bounds the memory; the arrays of so many fit in a cache
N_PARAMETERS, N_PLANE = len(COMPONENTS), 3
SOFT_EDGE, SOFT_REACH = 0.2, 1.45  # of the discs that a start is sought with [disc radii]
BLURRED_EDGE, BLURRED_REACH = 0.05, 1.25  # of those of the step after it [disc radii]
UNTOLD = 0.75  # share of pixels left out of the first step: those that tell least
REACHED = 3e-3  # share of a disc's plateau that pixels of its patch must have
PRODUCTS = np.array([[0, 1, 2], [1, 3, 4], [2, 4, 5]])  # of 1, row and column among the powers
N_SIMULATED = 1024  # patterns that tell how far deviations must be widened
LEVEL, WITHIN = 0.9, 1.6449  # share of a normal distribution, and the deviations that hold it
DIM = 0.2  # pixels that no disc makes brighter tell no rotation [brightest disc]
FAINT = 0.1  # background that a search counts with at least [brightest disc]
SAME = 1e-3  # intensities that differ by less tell no orientation [1]


@dataclass(frozen=True)
class Templates:
    """Of what a pattern is made.

    Parameters
    ----------
    profile : numpy.ndarray
        ``(n_knots,)``, cubic B-spline over the radius, of a disc [1].
    spacing : float
        Of its knots [pixels].
    intensities : numpy.ndarray
        ``(n_classes,)`` [counts / pixel], of spots as `spot_classes` sorts them.
    background : numpy.ndarray
        ``(n_pixels, n_pixels)`` [counts], the direct beam included.
    centre : numpy.ndarray
        ``(2,)``, place of the direct beam from the detector's middle [pixels].
    first_ring : float
        |g| of the first ring [pixels].
    disc_radius : float
        Rough radius of a disc [pixels].
    """

    profile: np.ndarray
    spacing: float
    intensities: np.ndarray
    background: np.ndarray
    centre: np.ndarray
    first_ring: float
    disc_radius: float

    @property
    def n_pixels(self) -> int:
        """Pixels along a side."""
        return len(self.background)

    @cached_property
    def spots(self) -> np.ndarray:
        """Spots of the undeformed lattice, ``(n_spots, 2)`` from the direct beam [pixels]."""
        return spot_classes(self.first_ring)[0]

    @cached_property
    def plateaus(self) -> np.ndarray:
        """Intensity of each spot, ``(n_spots,)`` [counts / pixel]."""
        return self.intensities[spot_classes(self.first_ring)[1]]

    @cached_property
    def flat_background(self) -> np.ndarray:
        """The background, ``(n_pixels²,)`` float32 [counts]."""
        return self.background.astype(np.float32).ravel()

    def places(self, crystals: np.ndarray) -> np.ndarray:
        """Return where deformations ``(n, 2, 2)`` put the spots, ``(n, n_spots, 2)`` [pixels]."""
        middle = self.centre + (self.n_pixels - 1) / 2
        return self.spots @ crystals.transpose(0, 2, 1) + middle

    @property
    def floor(self) -> float:
        """Least variance of a pixel that a fit counts with [counts]."""
        return WEAKEST * self.intensities.max()

    @cached_property
    def table(self) -> DiscTable:
        """The disc of the profile."""
        return profile_table(self.profile, self.spacing, fine_steps(self.disc_radius, FINE))

    @cached_property
    def soft_table(self) -> DiscTable:
        """A disc with a soft edge, which still overlaps where a start is wrong."""
        return self._logistic(SOFT_EDGE, SOFT_REACH)

    @cached_property
    def blurred_table(self) -> DiscTable:
        """A disc whose edge is a little soft, for when the start is left behind."""
        return self._logistic(BLURRED_EDGE, BLURRED_REACH)

    def _logistic(self, edge: float, reach: float) -> DiscTable:
        radius = self.disc_radius
        n_steps = fine_steps(radius, FINE)
        return disc_table(
            lambda r: 1 / (1 + np.exp((r / radius - 1) / edge)), reach * radius, n_steps
        )

    @cached_property
    def search(self) -> Search:
        """The rotations to start from."""
        return Search.of(self)


@dataclass(frozen=True)
class Fit:
    """Parameters of patterns.

    Parameters
    ----------
    parameters : numpy.ndarray
        ``(n, 4)``: ε_xx, ε_yy, ε_xy [1] and rotation [rad].
    deviations : numpy.ndarray
        ``(n, 4)``, their standard deviations.
    quality : numpy.ndarray
        ``(n,)`` mean square of residuals in standard deviations [1]: about 1 where the model holds.
    """

    parameters: np.ndarray
    deviations: np.ndarray
    quality: np.ndarray

    @classmethod
    def joined(cls, fits: Iterable[Fit]) -> Fit:
        """Return the fits of one chunk of patterns after the other as one."""
        parts = [(f.parameters, f.deviations, f.quality) for f in fits]
        return cls(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))

    def calibrated(self, templates: Templates, seed: int = 0) -> Fit:
        """Return the fit with deviations that hold, for pixels of any gain and however noisy.

        Parameters
        ----------
        templates : Templates
            With which the patterns were fitted.
        seed : int
            Of the patterns that are simulated to learn how far the deviations fall short.
        """
        gain = np.nanmedian(self.quality)
        factor = widening(templates, self.parameters[:N_SIMULATED], seed) * np.sqrt(gain)
        return replace(self, deviations=self.deviations * factor)


# ---- the model


def spot_classes(first_ring: float) -> tuple[np.ndarray, np.ndarray]:
    """Return spots and the number of each one's class: a ring, and the sign of h - k within it.

    Parameters
    ----------
    first_ring : float
        |g| of the first ring [pixels].

    Returns
    -------
    places : numpy.ndarray
        ``(n_spots, 2)`` from the direct beam [pixels].
    classes : numpy.ndarray
        ``(n_spots,)`` int, by ring.
    """
    places, plateaus, rings = spots(first_ring)
    _, classes = np.unique(np.stack([rings, plateaus]), axis=1, return_inverse=True)
    return places, classes.reshape(-1)


@dataclass(frozen=True)
class DiscTable:
    """A disc as pixels see it, for every place of its centre within a pixel.

    Parameters
    ----------
    values, by_row, by_column : numpy.ndarray
        ``(n_steps², side²)`` float32: share of each pixel of a patch, and its derivative by the
        place of the centre [1 / pixel].
    n_steps : int
        Places of the centre along a pixel.
    half : int
        Pixels of a patch to each side of its middle.
    """

    values: np.ndarray
    by_row: np.ndarray
    by_column: np.ndarray
    n_steps: int
    half: int

    @property
    def tables(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Values and derivatives."""
        return self.values, self.by_row, self.by_column

    @cached_property
    def _inside(self) -> np.ndarray:
        """Which pixels of a patch a disc ever reaches, ``(side²,)`` bool."""
        return self.values.max(axis=0) > REACHED * self.values.max()

    @cached_property
    def patches(self) -> np.ndarray:
        """Values and derivatives of pixels that a disc reaches, ``(n_steps², 3, n_patch)``."""
        return np.stack([table[:, self._inside] for table in self.tables], axis=1)

    @cached_property
    def pixels(self) -> np.ndarray:
        """Rows and columns of these pixels, ``(2, n_patch)`` int, from the patch's middle."""
        return np.stack(np.divmod(np.flatnonzero(self._inside), 2 * self.half + 1)) - self.half

    @cached_property
    def powers(self) -> np.ndarray:
        """1, row, column, and their products row², row · column and column² of these pixels.

        ``(6, n_patch)`` float32.
        """
        row, column = self.pixels
        powers = np.ones_like(row), row, column, row**2, row * column, column**2
        return np.array(powers, dtype=np.float32)

    def nearest(self, within: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the table's rows for places within a pixel, and what is left of the way to them.

        Parameters
        ----------
        within : numpy.ndarray
            ``(..., 2)``, from -0.5 to 0.5 [pixels].
        """
        step = np.clip(((within + 0.5) * self.n_steps).astype(np.intp), 0, self.n_steps - 1)
        left = within - ((step + 0.5) / self.n_steps - 0.5)
        return step[..., 0] * self.n_steps + step[..., 1], left


def fine_steps(disc_radius: float, per_radius: int) -> int:
    """Return how many places of a centre within a pixel there are, for a disc radius [pixels]."""
    return int(np.clip(2 ** np.round(np.log2(per_radius / disc_radius)), 8, 128))


def profile_table(profile: np.ndarray, spacing: float, n_steps: int) -> DiscTable:
    """Return the table of a disc whose profile is a cubic B-spline; see `Templates`."""
    knots = np.linspace(0, len(profile), 100 * len(profile) + 1)
    values = spline(profile, knots)

    def at(radius):
        return np.interp(radius / spacing, knots, values, right=0.0)

    return disc_table(at, spacing * len(profile), n_steps)


def disc_table(profile, reach: float, n_steps: int) -> DiscTable:
    """Return the table of a disc, averaged over every pixel.

    Parameters
    ----------
    profile : callable
        The disc at radii [pixels].
    reach : float
        Radius beyond which it is 0 [pixels].
    n_steps : int
        Places of the centre along a pixel, and of the points over which a pixel is averaged.
    """
    half = int(np.ceil(reach))  # half a pixel for the centre, and half for the pixel's own width
    first = -(half + 1) * n_steps
    points = np.arange(first, (half + 2) * n_steps) / n_steps
    disc = profile(np.hypot(points[:, None], points))
    pixels = _running_mean(_running_mean(disc, n_steps).T, n_steps).T
    side = np.arange(-half, half + 1) * n_steps
    begin = side - np.arange(n_steps)[:, None] - first  # of the pixels, for each place
    row, column = begin[:, None, :, None], begin[None, :, None, :]

    def patches(down, right):
        return pixels[row + down, column + right].reshape(n_steps**2, -1)

    by_row = (patches(-1, 0) - patches(1, 0)) * (n_steps / 2)
    by_column = (patches(0, -1) - patches(0, 1)) * (n_steps / 2)
    tables = (table.astype(np.float32) for table in (patches(0, 0), by_row, by_column))
    return DiscTable(*tables, n_steps, half)


def _running_mean(values: np.ndarray, width: int) -> np.ndarray:
    """Return means of ``width`` rows, from each row on, along the first axis."""
    sums = np.cumsum(np.concatenate([np.zeros_like(values[:1]), values]), axis=0)
    return (sums[width:] - sums[:-width]) / width


def spline(coefficients: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Return a cubic B-spline that is even about 0 and 0 beyond its last knot.

    Parameters
    ----------
    coefficients : numpy.ndarray
        ``(n_knots,)``.
    place : numpy.ndarray
        ``(...)`` at least 0 [knots].
    """
    n, knot = len(coefficients), place.astype(np.intp)
    known = np.concatenate([coefficients[1:2], coefficients, np.zeros(3)])
    knot = np.minimum(knot, n)
    t = place - knot
    pieces = ((1 - t) ** 3, 4 - 6 * t**2 + 3 * t**3, 1 + 3 * t + 3 * t**2 - 3 * t**3, t**3)
    value = sum(piece * known[knot + i] for i, piece in enumerate(pieces)) / 6
    return np.where(place < n, value, 0.0)


def images(templates: Templates, parameters: np.ndarray, table: DiscTable) -> np.ndarray:
    """Return the counts that templates lead to expect.

    Parameters
    ----------
    templates : Templates
        Of what patterns are made.
    parameters : numpy.ndarray
        ``(n, 4)``: ε_xx, ε_yy, ε_xy [1] and rotation [rad].
    table : DiscTable
        Of a disc.

    Returns
    -------
    numpy.ndarray
        ``(n, n_pixels, n_pixels)``.
    """
    discs = Discs.of(templates, table, deformation(parameters[:, :3], parameters[:, 3]))
    made = np.zeros((len(parameters), templates.n_pixels**2))
    np.add.at(made, (discs.number[:, None], discs.pixels), discs.without_hidden(discs.values))
    return made.reshape(-1, *templates.background.shape) + templates.background


@dataclass(frozen=True)
class Discs:
    """The m discs that n patterns show, in the order of the patterns.

    Parameters
    ----------
    number, spot : numpy.ndarray
        ``(m,)``: the pattern and the spot of each.
    middle : numpy.ndarray
        ``(m, 2)`` int, the pixel in the middle of each patch.
    pixels : numpy.ndarray
        ``(m, n_patch)``, which of the pattern's pixels a patch covers; where it covers none, the
        nearest.
    hidden : numpy.ndarray
        Which of these, counted through all patches, do not lie on the detector.
    values : numpy.ndarray
        ``(m, n_patch)`` float32 counts.
    slopes : numpy.ndarray
        ``(m, 2, n_patch)`` float32, their derivatives by the disc's place, of a plateau of 1.
    plateau : numpy.ndarray
        ``(m,)`` float32 [counts / pixel].
    """

    number: np.ndarray
    spot: np.ndarray
    middle: np.ndarray
    pixels: np.ndarray
    hidden: np.ndarray
    values: np.ndarray
    slopes: np.ndarray
    plateau: np.ndarray

    @classmethod
    def of(cls, templates: Templates, table: DiscTable, crystals: np.ndarray) -> Discs:
        """Return the discs of patterns with deformations ``(n, 2, 2)``."""
        side = templates.n_pixels
        places = templates.places(crystals)
        nearest = np.rint(places).astype(np.intp)
        visible = ((nearest >= -table.half) & (nearest < side + table.half)).all(axis=2)
        number, spot = np.nonzero(visible)
        places, nearest = places[number, spot], nearest[number, spot]
        which, left = table.nearest(places - nearest)
        patches = table.patches.take(which, axis=0)
        plateau = templates.plateaus[spot].astype(np.float32)
        weights = np.concatenate([np.ones_like(left[:, :1]), left], axis=1) * plateau[:, None]
        values = np.matmul(weights[:, None].astype(np.float32), patches)[:, 0]
        pixels, hidden = _pixels(nearest, table, side)
        return cls(number, spot, nearest, pixels, hidden, values, patches[:, 1:], plateau)

    def without_hidden(self, values: np.ndarray) -> np.ndarray:
        """Set values ``(m, n_patch)`` to 0, in place, off the detector; return them."""
        values.reshape(-1)[self.hidden] = 0
        return values


def _pixels(nearest, table, side) -> tuple[np.ndarray, np.ndarray]:
    """Return which pixels of a pattern patches cover, and which of them are off the detector."""
    row, column = table.pixels
    pixels = (nearest @ [side, 1])[:, None] + (row * side + column)
    inside = (nearest >= table.half) & (nearest < side - table.half)
    cut = np.flatnonzero(~inside.all(axis=1))
    row, column = nearest[cut, :1] + row, nearest[cut, 1:] + column
    seen = (row >= 0) & (row < side) & (column >= 0) & (column < side)
    pixels[cut] = np.clip(row, 0, side - 1) * side + np.clip(column, 0, side - 1)
    disc, pixel = np.nonzero(~seen)
    return pixels, cut[disc] * pixels.shape[1] + pixel


# ---- the start


def start(patterns: np.ndarray, templates: Templates) -> np.ndarray:
    """Search the rotation of unstrained crystals that patterns resemble most, and take a step.

    The search spans a sixth of a turn, which is all that the lattice can tell; or a third where the
    intensities of h - k tell more. The step is one of Fisher scoring for discs with a soft edge.

    Parameters
    ----------
    patterns : numpy.ndarray
        ``(n, n_pixels, n_pixels)`` [counts].
    templates : Templates
        Of what they are made.

    Returns
    -------
    numpy.ndarray
        ``(n, 4)``: strain [1] and rotation [rad].
    """
    search = templates.search
    parameters = np.zeros((len(patterns), N_PARAMETERS))
    for which in _chunks(len(patterns)):
        counts = patterns[which].reshape(-1, templates.n_pixels**2)
        seen = counts.take(search.pixels, axis=1).astype(np.float32)
        best = (seen @ search.filters - search.sums).argmax(axis=1)
        strain, rotation = decomposed(turn(search.angles[best]) + search.steps(counts, best))
        parameters[which, :3], parameters[which, 3] = strain, rotation
    return parameters


@dataclass(frozen=True)
class Search:
    """Rotations to try, and the logarithms of likelihood that pixels add to each.

    Parameters
    ----------
    angles : numpy.ndarray
        ``(n_angles,)`` [rad].
    pixels : numpy.ndarray
        ``(n,)``: which are looked at.
    filters, sums : numpy.ndarray
        ``(n, n_angles)`` float32 and ``(n_angles,)``: what a count in each pixel adds, and what is
        taken off for the counts to expect.
    first_steps : tuple of FirstStep
        From each rotation.
    """

    angles: np.ndarray
    pixels: np.ndarray
    filters: np.ndarray
    sums: np.ndarray
    first_steps: tuple[FirstStep, ...]

    @classmethod
    def of(cls, templates: Templates) -> Search:
        """Return the search with templates whose discs are soft."""
        angles = _angles(templates)
        parameters = np.zeros((len(angles), N_PARAMETERS))
        parameters[:, 3] = angles
        discs = images(templates, parameters, templates.soft_table) - templates.background
        discs = discs.reshape(len(angles), -1)
        pixels = np.flatnonzero(discs.max(axis=0) > DIM * discs.max())
        discs = discs[:, pixels]
        beneath = templates.background.ravel()[pixels] + FAINT * templates.intensities.max()
        filters = np.log1p(discs / beneath).T.astype(np.float32)
        steps = tuple(FirstStep.of(templates, angle) for angle in angles)
        return cls(angles, pixels, np.ascontiguousarray(filters), discs.sum(axis=1), steps)

    def steps(self, counts: np.ndarray, best: np.ndarray) -> np.ndarray:
        """Return the first steps ``(n, 2, 2)`` of deformations, for patterns ``(n, n_pixels²)``."""
        steps = np.zeros((len(counts), N_PARAMETERS))
        for number in np.unique(best):
            of_angle = np.flatnonzero(best == number)
            steps[of_angle] = self.first_steps[number].taken(counts, of_angle)
        return _bounded(steps).reshape(-1, 2, 2)


@dataclass(frozen=True)
class FirstStep:
    """The step of Fisher scoring from an unstrained crystal of known rotation: linear in counts.

    Parameters
    ----------
    pixels : numpy.ndarray
        ``(n,)``: which are looked at.
    filters, at_expected : numpy.ndarray
        ``(n, 4)`` float32 and ``(4,)``: what a count in each pixel adds to the deformation, and
        what the counts to expect would.
    """

    pixels: np.ndarray
    filters: np.ndarray
    at_expected: np.ndarray

    @classmethod
    def of(cls, templates: Templates, angle: float) -> FirstStep:
        """Return the step from a rotation [rad], for discs with a soft edge."""
        table, plane = templates.soft_table, np.zeros((1, N_PLANE))
        discs = Discs.of(templates, table, turn(np.array([angle])))
        expected, weight = _expected(templates, table, discs, plane)
        by_place = np.empty((len(weight), 5, weight.shape[1]))
        by_place[:, :2], by_place[:, 2:] = discs.slopes, table.powers[:N_PLANE]
        slopes = (_slopes(templates, discs) @ by_place).transpose(1, 0, 2)
        slopes = slopes.reshape(len(slopes), -1)
        told = (slopes[:N_PARAMETERS] ** 2).sum(axis=0) * weight.ravel()
        kept = np.flatnonzero(told > np.quantile(told, UNTOLD))
        slopes, weight, expected = slopes[:, kept], weight.ravel()[kept], expected.ravel()[kept]
        weighted = slopes * weight
        information = weighted @ slopes.T + REGULAR * np.eye(len(slopes))
        filters = np.linalg.solve(information, weighted)[:N_PARAMETERS].astype(np.float32)
        return cls(discs.pixels.ravel()[kept], np.ascontiguousarray(filters.T), filters @ expected)

    def taken(self, counts: np.ndarray, which: np.ndarray) -> np.ndarray:
        """Return the steps ``(m, 4)`` that some of the patterns ``(n, n_pixels²)`` lead to."""
        pixels = which[:, None] * counts.shape[1] + self.pixels
        seen = counts.reshape(-1).take(pixels).astype(np.float32, copy=False)
        return seen @ self.filters - self.at_expected


def _angles(templates: Templates) -> np.ndarray:
    """Return the rotations to try [rad]: so close that discs of the second ring overlap."""
    lengths = np.linalg.norm(templates.spots, axis=1) / templates.first_ring
    first = templates.plateaus[np.abs(lengths - 1) < 0.1]
    span = SIXTH if first.max() <= (1 + SAME) * first.min() else THIRD
    step = 0.66 * templates.disc_radius / (2 * templates.first_ring)
    return np.linspace(0, span, int(np.ceil(span / step)), endpoint=False)


# ---- the fit


def fisher_scoring(
    patterns: np.ndarray,
    templates: Templates,
    parameters: np.ndarray,
    n_steps: int = 2,
) -> Fit:
    """Fit strain and rotation of every pattern, and a plane that is added to its background.

    Parameters
    ----------
    patterns : numpy.ndarray
        ``(n, n_pixels, n_pixels)`` [counts].
    templates : Templates
        Of what they are made.
    parameters : numpy.ndarray
        ``(n, 4)`` to start from: ε_xx, ε_yy, ε_xy [1] and rotation [rad].
    n_steps : int
        Steps of Fisher scoring, after one for discs whose edge is a little softer.

    Raises
    ------
    ReproError
        If patterns and templates differ in size.
    """
    if patterns.shape[1:] != templates.background.shape:
        raise ReproError(
            f"The patterns have {patterns.shape[1:]} pixels, the templates "
            f"{templates.background.shape}: fit templates to these patterns first."
        )
    tables = [templates.blurred_table] + [templates.table] * n_steps
    return Fit.joined(
        _fit_chunk(patterns[which].reshape(which.stop - which.start, -1), templates, tables, first)
        for which, first in ((which, parameters[which]) for which in _chunks(len(patterns)))
    )


def _chunks(n: int) -> Iterator[slice]:
    return (slice(i, min(i + PATTERNS_AT_ONCE, n)) for i in range(0, n, PATTERNS_AT_ONCE))


def _fit_chunk(counts, templates, tables, parameters) -> Fit:
    """Fit a few patterns, given as counts ``(n, n_pixels²)``, with one table after the other.

    What the steps change is the deformation, which discs follow linearly.
    """
    crystals = deformation(parameters[:, :3], parameters[:, 3])
    plane = np.zeros((len(counts), N_PLANE))
    for table in tables:
        information, score, quality = _equations(counts, templates, table, crystals, plane)
        information += REGULAR * np.eye(N_PARAMETERS + N_PLANE)
        step = np.linalg.solve(information, score[..., None])[..., 0]
        crystals = crystals + _bounded(step[:, :N_PARAMETERS]).reshape(-1, 2, 2)
        plane = plane + np.nan_to_num(step[:, N_PARAMETERS:])
    strain, rotation = decomposed(crystals)
    found = np.concatenate([strain, rotation[:, None]], axis=1)
    by_parameter = np.zeros_like(information)
    by_parameter[:, :N_PARAMETERS, :N_PARAMETERS] = _derivatives(found).reshape(-1, 4, 4)
    by_parameter[:, N_PARAMETERS:, N_PARAMETERS:] = np.eye(N_PLANE)
    information = by_parameter @ information @ by_parameter.transpose(0, 2, 1)
    variances = np.diagonal(np.linalg.inv(information), axis1=1, axis2=2)[:, :N_PARAMETERS]
    return Fit(found, np.sqrt(variances), quality)


def _bounded(steps: np.ndarray) -> np.ndarray:
    """Return steps that are not too large, and 0 where there is none."""
    return np.clip(np.nan_to_num(steps), -LARGEST_STEP, LARGEST_STEP)


def _equations(counts, templates, table, crystals, plane):
    """Return information ``(n, 7, 7)``, score ``(n, 7)`` and quality ``(n,)`` at a state.

    Of the four elements of the deformation, and of the plane.
    """
    discs = Discs.of(templates, table, crystals)
    expected, weight = _expected(templates, table, discs, plane)
    residual = _measured(counts, discs)
    residual -= expected
    weighted = weight * residual
    moments, scores = _moments(discs, table, weight, weighted)
    slopes = _slopes(templates, discs)
    first = np.flatnonzero(np.diff(discs.number, prepend=-1))
    information = np.add.reduceat(slopes @ moments @ slopes.transpose(0, 2, 1), first)
    score = np.add.reduceat((slopes @ scores[..., None])[..., 0], first)
    return information, score, _quality(residual, weighted, discs, first)


def _expected(templates, table, discs, plane) -> tuple[np.ndarray, np.ndarray]:
    """Return the counts to expect of each disc's pixels, and their weights."""
    side = templates.n_pixels
    from_middle = discs.middle - (side - 1) / 2
    plane = _plane_at(plane[discs.number], from_middle / side) / [1, side, side]
    expected = plane.astype(np.float32) @ table.powers[:N_PLANE]
    expected += templates.flat_background.take(discs.pixels)
    expected += discs.values
    weight = np.maximum(expected, np.float32(templates.floor))
    np.reciprocal(weight, out=weight)
    return expected, discs.without_hidden(weight)


def _measured(counts, discs) -> np.ndarray:
    """Return the counts of each disc's pixels."""
    pixels = discs.pixels + discs.number[:, None] * counts.shape[1]
    return counts.reshape(-1).take(pixels).astype(np.float32, copy=False)


def _moments(discs, table, weight, weighted) -> tuple[np.ndarray, np.ndarray]:
    """Return each disc's information ``(m, 5, 5)`` and score ``(m, 5)``.

    Of its place, for a plateau of 1, and of offset and slopes of the background in its patch.
    """
    plane, slopes = table.powers[:N_PLANE].T, discs.slopes
    moments, scores = np.empty((len(weight), 5, 5)), np.empty((len(weight), 5))
    for i in range(2):
        pulled = slopes[:, i] * weight
        for j in range(i, 2):
            moments[:, i, j] = moments[:, j, i] = np.vecdot(pulled, slopes[:, j])
        moments[:, i, 2:] = moments[:, 2:, i] = pulled @ plane
        scores[:, i] = np.vecdot(weighted, slopes[:, i])
    moments[:, 2:, 2:] = (weight @ table.powers.T)[:, PRODUCTS]
    scores[:, 2:] = weighted @ plane
    return moments, scores


def _plane_at(plane: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Return offset and slopes of planes ``(m, 3)`` about other places ``(m, 2)``."""
    offset = plane[:, 0] + (plane[:, 1:] * place).sum(axis=1)
    return np.concatenate([offset[:, None], plane[:, 1:]], axis=1)


def _slopes(templates, discs) -> np.ndarray:
    """Return how the discs' places and backgrounds change with deformation and plane, (m, 7, 5)."""
    slopes = np.zeros((len(discs.number), N_PARAMETERS + N_PLANE, 5))
    spots = templates.spots[discs.spot] * discs.plateau[:, None]
    slopes[:, :2, 0] = slopes[:, 2:4, 1] = spots
    slopes[:, 4, 2] = 1
    side = templates.n_pixels
    slopes[:, 5:, 2] = (discs.middle - (side - 1) / 2) / side
    slopes[:, 5, 3] = slopes[:, 6, 4] = 1 / side
    return slopes


def _derivatives(parameters: np.ndarray) -> np.ndarray:
    """Return the derivatives of deformations by strain and rotation, ``(n, 4, 2, 2)``."""
    xx, yy, xy, rotation = parameters.T
    back = np.linalg.inv(matrix(1 + xx, xy, xy, 1 + yy))
    crystal = back @ turn(rotation)
    units = np.array([[[1, 0], [0, 0]], [[0, 0], [0, 1]], [[0, 1], [1, 0]]])
    by_strain = -back[:, None] @ units @ crystal[:, None]
    by_rotation = crystal @ np.array([[0, -1], [1, 0]])
    return np.concatenate([by_strain, by_rotation[:, None]], axis=1)


def _quality(residual, weighted, discs, first) -> np.ndarray:
    """Return the mean square of residuals in standard deviations, of each pattern."""
    squares = np.vecdot(residual, weighted)
    n_patch = residual.shape[1]
    n_seen = n_patch - np.bincount(discs.hidden // n_patch, minlength=len(residual))
    freedom = np.add.reduceat(n_seen, first) - (N_PARAMETERS + N_PLANE)
    return np.add.reduceat(squares, first) / np.maximum(freedom, 1)


def crystal_strength(
    patterns: np.ndarray, templates: Templates, parameters: np.ndarray
) -> np.ndarray:
    """Return how bright the discs of patterns are, of those of the templates: about 0 in vacuum.

    Parameters
    ----------
    patterns : numpy.ndarray
        ``(n, n_pixels, n_pixels)`` [counts].
    templates : Templates
        With which they were fitted.
    parameters : numpy.ndarray
        ``(n, 4)``, what was found.

    Returns
    -------
    numpy.ndarray
        ``(n,)`` [1].
    """
    return np.concatenate(
        [
            _strength(patterns[which].reshape(len(first), -1), templates, first)
            for which, first in ((which, parameters[which]) for which in _chunks(len(patterns)))
        ]
    )


def _strength(counts, templates, parameters) -> np.ndarray:
    crystals = deformation(parameters[:, :3], parameters[:, 3])
    discs = Discs.of(templates, templates.table, crystals)
    expected = discs.without_hidden(discs.values)
    above = _measured(counts, discs) - templates.flat_background.take(discs.pixels)
    of_pattern = partial(np.bincount, discs.number, minlength=len(parameters))
    measured, modelled = (of_pattern(np.vecdot(a, expected)) for a in (above, expected))
    return measured / np.maximum(modelled, 1e-12)


# ---- what is made of fits


def widening(templates: Templates, parameters: np.ndarray, seed: int) -> np.ndarray:
    """Return by what the stated deviations must be multiplied, ``(4,)``: about 1 at low noise.

    At high noise the most likely parameters scatter more than their information tells: patterns
    that are drawn from the templates and fitted show by how much.

    Parameters
    ----------
    templates : Templates
        Of what patterns are made.
    parameters : numpy.ndarray
        ``(n, 4)``, of the patterns to draw.
    seed : int
        Of what is drawn.
    """
    random, errors = generator(seed, "widening"), []
    table = templates.table
    for which in _chunks(len(parameters)):
        drawn = random.poisson(np.maximum(images(templates, parameters[which], table), 0))
        found = fisher_scoring(drawn, templates, start(drawn, templates))
        error = found.parameters - parameters[which]
        error[:, 3] = sixfold(error[:, 3])
        errors.append(np.abs(error) / found.deviations)
    return np.quantile(np.concatenate(errors), LEVEL, axis=0) / WITHIN


def relative(parameters: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return strain and rotation against a reference, such as the mean of an unstrained region.

    Parameters
    ----------
    parameters, reference : numpy.ndarray
        ``(n, 4)`` and ``(4,)``: ε_xx, ε_yy, ε_xy [1] and rotation [rad].

    Returns
    -------
    numpy.ndarray
        ``(n, 4)``, the rotation within a twelfth of a turn to either side.
    """
    crystals, unstrained = (deformation(p[..., :3], p[..., 3]) for p in (parameters, reference))
    strain, rotation = decomposed(crystals @ np.linalg.inv(unstrained))
    return np.concatenate([strain, sixfold(rotation)[:, None]], axis=1)
