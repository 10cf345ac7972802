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
FINE = 240  # steps in which a template is tabulated, per disc radius
LARGEST_STEP = 0.02  # of a parameter [1 and rad]
WEAKEST = 1e-3  # least variance of a pixel, of the brightest disc's
REGULAR = 1.0  # information that every parameter has at least, in a pattern that tells nothing
PATTERNS_AT_ONCE = 64  # bounds the memory; the arrays of so many fit in a cache
N_PARAMETERS, N_PLANE = len(COMPONENTS), 3
SOFT_EDGE, SOFT_REACH = 0.2, 1.7  # of the discs that a start is sought with [disc radii]
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
        radius, edge = self.disc_radius, SOFT_EDGE * self.disc_radius
        return disc_table(lambda r: 1 / (1 + np.exp((r - radius) / edge)), SOFT_REACH * radius, 32)

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

    @property
    def steps(self) -> np.ndarray:
        """Pixels of a patch along a side, from its middle."""
        return np.arange(-self.half, self.half + 1)

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
    discs = Discs.of(templates, table, parameters)
    made = np.zeros((len(parameters), templates.n_pixels**2))
    np.add.at(made, (discs.number[:, None], discs.pixels), discs.values * discs.seen)
    return made.reshape(-1, *templates.background.shape) + templates.background


@dataclass(frozen=True)
class Discs:
    """The m discs that n patterns show, in the order of the patterns.

    Parameters
    ----------
    number, spot : numpy.ndarray
        ``(m,)``: the pattern and the spot of each.
    middle : numpy.ndarray
        ``(m, 2)``, place of a patch's middle from the detector's [pixels].
    pixels : numpy.ndarray
        ``(m, side²)``, which of the pattern's pixels a patch covers.
    seen : numpy.ndarray
        ``(m, side²)`` bool, whether they lie on the detector.
    values, by_row, by_column : numpy.ndarray
        ``(m, side²)`` counts, and their derivatives by the disc's place.
    """

    number: np.ndarray
    spot: np.ndarray
    middle: np.ndarray
    pixels: np.ndarray
    seen: np.ndarray
    values: np.ndarray
    by_row: np.ndarray
    by_column: np.ndarray

    @classmethod
    def of(cls, templates: Templates, table: DiscTable, parameters: np.ndarray) -> Discs:
        """Return the discs of patterns with parameters ``(n, 4)``."""
        side, middle = templates.n_pixels, (templates.n_pixels - 1) / 2
        crystals = deformation(parameters[:, :3], parameters[:, 3])
        places = templates.spots @ crystals.transpose(0, 2, 1) + (templates.centre + middle)
        nearest = np.rint(places).astype(np.intp)
        visible = ((nearest >= -table.half) & (nearest < side + table.half)).all(axis=2)
        number, spot = np.nonzero(visible)
        places, nearest = places[number, spot], nearest[number, spot]
        which, left = table.nearest(places - nearest)
        plateau = templates.plateaus[spot].astype(np.float32)[:, None]
        left = left.astype(np.float32)
        values, by_row, by_column = (t.take(which, axis=0) * plateau for t in table.tables)
        values += left[:, :1] * by_row
        values += left[:, 1:] * by_column
        pixels, seen = _patches(nearest, table.steps, side)
        return cls(number, spot, nearest - middle, pixels, seen, values, by_row, by_column)


def _patches(nearest, steps, side) -> tuple[np.ndarray, np.ndarray]:
    """Return which pixels of a pattern patches cover, and whether they are on the detector."""
    row, column = (nearest[:, axis, None] + steps for axis in (0, 1))
    seen = ((row >= 0) & (row < side))[:, :, None] & ((column >= 0) & (column < side))[:, None]
    row, column = np.clip(row, 0, side - 1), np.clip(column, 0, side - 1)
    pixels = (row * side)[:, :, None] + column[:, None, :]
    return pixels.reshape(len(nearest), -1), seen.reshape(len(nearest), -1)


# ---- the start


def start(patterns: np.ndarray, templates: Templates) -> np.ndarray:
    """Search the rotation of unstrained crystals that patterns resemble most.

    The search spans a sixth of a turn, which is all that the lattice can tell; or a third where the
    intensities of h - k tell more.

    Parameters
    ----------
    patterns : numpy.ndarray
        ``(n, n_pixels, n_pixels)`` [counts].
    templates : Templates
        Of what they are made.

    Returns
    -------
    numpy.ndarray
        ``(n, 4)``: strain 0 [1], and rotation [rad].
    """
    search = templates.search
    parameters = np.zeros((len(patterns), N_PARAMETERS))
    for which in _chunks(len(patterns)):
        counts = patterns[which].reshape(-1, templates.n_pixels**2).take(search.pixels, axis=1)
        scores = counts.astype(np.float32) @ search.filters - search.sums
        parameters[which, 3] = search.angles[scores.argmax(axis=1)]
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
    """

    angles: np.ndarray
    pixels: np.ndarray
    filters: np.ndarray
    sums: np.ndarray

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
        return cls(angles, pixels, np.ascontiguousarray(filters), discs.sum(axis=1))


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
    n_steps: int = 3,
    n_soft_steps: int = 2,
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
    n_steps, n_soft_steps : int
        Steps of Fisher scoring, and of those before them whose discs have a soft edge.

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
    tables = [templates.soft_table] * n_soft_steps + [templates.table] * n_steps
    return Fit.joined(
        _fit_chunk(patterns[which].reshape(which.stop - which.start, -1), templates, tables, first)
        for which, first in ((which, parameters[which]) for which in _chunks(len(patterns)))
    )


def _chunks(n: int) -> Iterator[slice]:
    return (slice(i, min(i + PATTERNS_AT_ONCE, n)) for i in range(0, n, PATTERNS_AT_ONCE))


def _fit_chunk(counts, templates, tables, parameters) -> Fit:
    """Fit a few patterns, given as counts ``(n, n_pixels²)``, with one table after the other."""
    state = np.concatenate([parameters, np.zeros((len(parameters), N_PLANE))], axis=1)
    for table in tables:
        information, score, quality = _equations(counts, templates, table, state)
        information += REGULAR * np.eye(N_PARAMETERS + N_PLANE)
        step = np.nan_to_num(np.linalg.solve(information, score[..., None])[..., 0])
        step[:, :N_PARAMETERS] = np.clip(step[:, :N_PARAMETERS], -LARGEST_STEP, LARGEST_STEP)
        state += step
    variances = np.diagonal(np.linalg.inv(information), axis1=1, axis2=2)[:, :N_PARAMETERS]
    return Fit(state[:, :N_PARAMETERS], np.sqrt(variances), quality)


def _equations(counts, templates, table, state):
    """Return information ``(n, 7, 7)``, score ``(n, 7)`` and quality ``(n,)`` at a state."""
    discs = Discs.of(templates, table, state[:, :N_PARAMETERS])
    side = templates.n_pixels
    row, column = (np.repeat(table.steps, len(table.steps)), np.tile(table.steps, len(table.steps)))
    flat = np.stack([np.ones_like(row), row, column], axis=1).astype(np.float32)
    plane = _plane_at(state[discs.number, N_PARAMETERS:], discs.middle / side) / [1, side, side]
    residual = _measured(counts, discs)
    expected = discs.values
    expected += templates.flat_background.take(discs.pixels)
    expected += plane.astype(np.float32) @ flat.T
    residual -= expected
    weight = discs.seen / np.maximum(expected, np.float32(templates.floor))
    moments, scores = _moments(discs, weight, weight * residual, flat)
    slopes = _slopes(templates, state, discs)
    first = np.flatnonzero(np.diff(discs.number, prepend=-1))
    information = np.add.reduceat(slopes @ moments @ slopes.transpose(0, 2, 1), first)
    score = np.add.reduceat((slopes @ scores[..., None])[..., 0], first)
    return information, score, _quality(residual, weight, discs, first)


def _measured(counts, discs) -> np.ndarray:
    """Return the counts of each disc's pixels."""
    pixels = discs.pixels + discs.number[:, None] * counts.shape[1]
    return counts.reshape(-1).take(pixels).astype(np.float32, copy=False)


def _moments(discs, weight, weighted, flat) -> tuple[np.ndarray, np.ndarray]:
    """Return each disc's information ``(m, 5, 5)`` and score ``(m, 5)``.

    Of its place, and of an offset and the slopes of the background in its patch.
    """
    moments = np.empty((len(weight), 5, 5))
    scores = np.empty((len(weight), 5))
    derivatives = discs.by_row, discs.by_column
    for i, derivative in enumerate(derivatives):
        pulled = derivative * weight
        for j in range(i, 2):
            moments[:, i, j] = moments[:, j, i] = np.einsum("mp,mp->m", pulled, derivatives[j])
        moments[:, i, 2:] = moments[:, 2:, i] = pulled @ flat
        scores[:, i] = np.einsum("mp,mp->m", derivative, weighted)
    squares = (flat[:, :, None] * flat[:, None, :]).reshape(len(flat), -1)
    moments[:, 2:, 2:] = (weight @ squares).reshape(-1, 3, 3)
    scores[:, 2:] = weighted @ flat
    return moments, scores


def _plane_at(plane: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Return offset and slopes of planes ``(m, 3)`` about other places ``(m, 2)``."""
    offset = plane[:, 0] + (plane[:, 1:] * place).sum(axis=1)
    return np.concatenate([offset[:, None], plane[:, 1:]], axis=1)


def _slopes(templates, state, discs) -> np.ndarray:
    """Return how the discs' places and backgrounds change with the seven parameters, (m, 7, 5)."""
    by_parameter = _derivatives(state[:, :N_PARAMETERS])[discs.number]
    slopes = np.zeros((len(discs.number), N_PARAMETERS + N_PLANE, 5))
    slopes[:, :N_PARAMETERS, :2] = np.einsum(
        "mkij,mj->mki", by_parameter, templates.spots[discs.spot]
    )
    slopes[:, 4, 2] = 1
    slopes[:, 5:, 2] = discs.middle / templates.n_pixels
    slopes[:, 5, 3] = slopes[:, 6, 4] = 1 / templates.n_pixels
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


def _quality(residual, weight, discs, first) -> np.ndarray:
    """Return the mean square of residuals in standard deviations, of each pattern."""
    squares = np.einsum("mp,mp,mp->m", residual, residual, weight)
    freedom = np.add.reduceat(discs.seen.sum(axis=1), first) - (N_PARAMETERS + N_PLANE)
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
    discs = Discs.of(templates, templates.table, parameters)
    expected = discs.values * discs.seen
    above = _measured(counts, discs) - templates.flat_background.take(discs.pixels)
    of_pattern = partial(np.bincount, discs.number, minlength=len(parameters))
    measured = of_pattern(np.einsum("mp,mp->m", above, expected))
    return measured / np.maximum(of_pattern(np.square(expected).sum(axis=1)), 1e-12)


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
