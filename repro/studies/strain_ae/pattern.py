"""What a pattern is made of, a background and discs, and what rotation it shows at first sight.

Every spot of the deformed lattice has a disc. A search over rotations of unstrained crystals, and a
step from there that is tabulated too, give a fit its start. Only pixels near discs are read.

Lengths on the detector are in pixels of the patterns.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from repro.studies.strain_ae.discs import DiscTable, disc_table, fine_steps, profile_table
from repro.studies.strain_ae.lattice import COMPONENTS, SIXTH, decomposed, deformation, spots, turn

THIRD = 2 * np.pi / 3  # of a turn [rad]
FINE = 60  # steps in which a template is tabulated, per disc radius
LARGEST_STEP = 0.02  # of a parameter [1 and rad]
WEAKEST = 1e-3  # least variance of a pixel, of the brightest disc's
REGULAR = 1.0  # information that every parameter has at least, in a pattern that tells nothing
PATTERNS_AT_ONCE = 32  # bounds the memory; the arrays of so many fit in a cache
N_PARAMETERS, N_PLANE = len(COMPONENTS), 3
SOFT_EDGE, SOFT_REACH = 0.2, 1.45  # of the discs that a start is sought with [disc radii]
BLURRED_EDGE, BLURRED_REACH = 0.05, 1.25  # of those of the step after it [disc radii]
UNTOLD = 0.75  # share of pixels left out of the first step: those that tell least
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


def expected_counts(
    templates: Templates, table: DiscTable, discs: Discs, plane: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the counts to expect of each disc's pixels and their weights, ``(m, n_patch)``.

    Parameters
    ----------
    templates, table, discs
        What patterns are made of, and their m discs.
    plane : numpy.ndarray
        ``(n, 3)`` counts that are added to the backgrounds: in the detector's middle, and from one
        end of the detector to the other along rows and columns.
    """
    side = templates.n_pixels
    from_middle = discs.middle - (side - 1) / 2
    plane = _plane_at(plane[discs.number], from_middle / side) / [1, side, side]
    expected = plane.astype(np.float32) @ table.powers[:N_PLANE]
    expected += templates.flat_background.take(discs.pixels)
    expected += discs.values
    weight = np.maximum(expected, np.float32(templates.floor))
    np.reciprocal(weight, out=weight)
    return expected, discs.without_hidden(weight)


def _plane_at(plane: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Return offset and slopes of planes ``(m, 3)`` about other places ``(m, 2)``."""
    offset = plane[:, 0] + (plane[:, 1:] * place).sum(axis=1)
    return np.concatenate([offset[:, None], plane[:, 1:]], axis=1)


def slopes_of(templates: Templates, discs: Discs) -> np.ndarray:
    """Return how places and backgrounds of m discs change with deformation and plane.

    Returns
    -------
    numpy.ndarray
        ``(m, 7, 5)``: by the four elements of the deformation and the three of the plane; row and
        column times the plateau, and offset and slopes of the background in the patch.
    """
    slopes = np.zeros((len(discs.number), N_PARAMETERS + N_PLANE, 5))
    spots = templates.spots[discs.spot] * discs.plateau[:, None]
    slopes[:, :2, 0] = slopes[:, 2:4, 1] = spots
    slopes[:, 4, 2] = 1
    side = templates.n_pixels
    slopes[:, 5:, 2] = (discs.middle - (side - 1) / 2) / side
    slopes[:, 5, 3] = slopes[:, 6, 4] = 1 / side
    return slopes


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
    for which in chunks(len(patterns)):
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
        return bounded(steps).reshape(-1, 2, 2)


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
        expected, weight = expected_counts(templates, table, discs, plane)
        by_place = np.empty((len(weight), 5, weight.shape[1]))
        by_place[:, :2], by_place[:, 2:] = discs.slopes, table.powers[:N_PLANE]
        slopes = (slopes_of(templates, discs) @ by_place).transpose(1, 0, 2)
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


def bounded(steps: np.ndarray) -> np.ndarray:
    """Return steps that are not too large, and 0 where there is none."""
    return np.clip(np.nan_to_num(steps), -LARGEST_STEP, LARGEST_STEP)


def chunks(n: int) -> Iterator[slice]:
    """Return slices of n patterns, few enough at once for a cache."""
    return (slice(i, min(i + PATTERNS_AT_ONCE, n)) for i in range(0, n, PATTERNS_AT_ONCE))
