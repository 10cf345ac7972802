"""Our model of a pattern as a network that learns from the noisy scan, without labels.

Its weights are what all patterns have in common: the profile of a disc, the intensities of the
spots, the background and the place of the beam. Its input is what they differ in, strain and
rotation, which a fit with the templates as they stand finds anew before every epoch. The lattice
stays as it was found at the start: what that is off by is taken out with a reference region.

Lengths on the detector are in pixels of the patterns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import keras
import numpy as np
from keras import ops

from repro.layers.counted import Counted
from repro.side_by_side import side_by_side
from repro.studies.strain_ae.discs import fine_steps, profile_table, spline
from repro.studies.strain_ae.fit import Fit, fisher_scoring
from repro.studies.strain_ae.pattern import Templates, spot_classes, start
from repro.training.recipe import Recipe

KNOTS_PER_RADIUS = 25  # of the profile
REACH = 1.3  # of the profile [disc radii]
FINE = 40  # steps in which the network tabulates a disc, per disc radius
N_BACKGROUND = 24  # knots of the background, closer near the beam
EDGE = 0.1  # of the profile at the start [disc radii]
SMOOTH = 0.1  # weight of the bends of the background's logarithm at the start
FALL = 3.0  # of intensities at the start, which fall as exp(-N / FALL)
LEAST = 1e-6  # counts that a pixel is expected to have at least
FIRST_RINGS = (1.0, 3**0.5, 2.0)  # that a scan's rings are recognised by [first rings]
PEAK = 0.8  # the first ring is the centre of what stands out that much [most that stands out]
OUTLIER = 4.0  # patterns that the model fits worse teach it nothing [robust standard deviations]
PATTERNS_READ = 256  # at once by a thread

RECIPE = Recipe(
    epochs=12,
    batch_size=32,
    learning_rate=0.05,
    schedule="cosine",
    keep="last",
    loss="poisson",
)


# ---- what a scan shows before anything is fitted


@dataclass(frozen=True)
class Geometry:
    """Where a scan's patterns have what, and how bright it is, roughly.

    Parameters
    ----------
    n_pixels : int
        Pixels along a side.
    centre : tuple of float
        Place of the direct beam from the detector's middle [pixels].
    first_ring : float
        |g| of the first ring [pixels].
    disc_radius : float
        Radius of a disc [pixels].
    intensity : float
        Of a disc of the first ring [counts / pixel].
    background : tuple of float
        ``(N_BACKGROUND,)`` coefficients of the logarithm of the background, the beam included.
    """

    n_pixels: int
    centre: tuple[float, float]
    first_ring: float
    disc_radius: float
    intensity: float
    background: tuple[float, ...]

    @property
    def radii(self) -> np.ndarray:
        """Distance of each pixel from the beam, ``(n_pixels, n_pixels)`` [pixels]."""
        place = np.arange(self.n_pixels) - (self.n_pixels - 1) / 2
        return np.hypot(*np.meshgrid(*(place - c for c in self.centre), indexing="ij"))


def initial_geometry(patterns: np.ndarray) -> Geometry:
    """Find beam, discs and the first ring in the patterns of a scan.

    Parameters
    ----------
    patterns : numpy.ndarray
        ``(n, n_pixels, n_pixels)`` [counts], some hundred of them if they are noisy.

    Returns
    -------
    Geometry
        Its first ring is NaN where none stands out.
    """
    mean = np.mean(patterns, axis=0, dtype=np.float64)
    centre, disc_radius = _beam(mean)
    bare = Geometry(len(mean), centre, 0.0, disc_radius, 0.0, ())
    radii = bare.radii
    first_ring = _first_ring(mean, radii, disc_radius)
    if np.isnan(first_ring):
        return replace(bare, first_ring=first_ring)
    intensity = _excess(mean, radii, first_ring, disc_radius)
    intensity *= 2 * first_ring * 2 / (6 * disc_radius)  # of the annulus, to that of six discs
    background = _log_background(mean, radii, disc_radius)
    return Geometry(len(mean), centre, first_ring, disc_radius, intensity, tuple(background))


def _beam(mean: np.ndarray) -> tuple[tuple[float, float], float]:
    """Return the place of the beam from the middle and its radius: what is half as bright."""
    bright = np.minimum(mean / np.median(np.sort(mean.ravel())[-9:]), 1)
    bright = np.where(bright > 0.05, bright, 0)
    place = np.arange(len(mean)) - (len(mean) - 1) / 2
    row, column = (float(bright.sum(axis=1 - i) @ place / bright.sum()) for i in (0, 1))
    return (row, column), float(np.sqrt(bright.sum() / np.pi))


def _first_ring(mean: np.ndarray, radii: np.ndarray, disc_radius: float) -> float:
    """Return the first ring's radius: that with most above the background in it and its kin.

    NaN where nothing is above it.
    """
    tried = np.arange(4 * disc_radius, radii[0].min() - disc_radius, 0.05 * disc_radius)
    if not len(tried):
        return np.nan
    above = np.array(
        [
            np.mean([r * _excess(mean, radii, r * ring, disc_radius) for ring in FIRST_RINGS])
            for r in tried
        ]
    )
    peak = np.maximum(above - PEAK * np.max(above), 0)
    peak *= np.abs(tried - tried[np.argmax(above)]) < disc_radius
    return float(peak @ tried / peak.sum()) if peak.any() else np.nan


def _excess(mean: np.ndarray, radii: np.ndarray, ring: float, width: float) -> float:
    """Return how much brighter a ring is than a power law through what lies beside it [counts]."""
    away = ring * np.abs(np.log(np.maximum(radii, 1e-3) / ring))
    inner, outer = (away < 1.5 * width) & (radii < ring), (away < 1.5 * width) & (radii > ring)
    on = away < 0.75 * width
    inner, outer = inner & ~on, outer & ~on
    if not (on.any() and inner.any() and outer.any()):
        return 0.0
    beside = np.sqrt(max(mean[inner].mean(), 0.0) * max(mean[outer].mean(), 0.0))
    return float(mean[on].mean() - beside)


def _log_background(mean: np.ndarray, radii: np.ndarray, disc_radius: float) -> np.ndarray:
    """Return the coefficients of the median over directions, smooth where there are few radii."""
    ring = np.rint(2 * radii).astype(int).ravel()
    values = [np.median(mean.ravel()[ring == r]) for r in np.unique(ring)]
    logarithm = np.log(np.maximum(values, 1e-3))
    basis = background_basis(np.unique(ring) / 2, disc_radius, radii.max())
    bends = SMOOTH * np.diff(np.eye(N_BACKGROUND), 2, axis=0)
    rows = np.concatenate([basis, bends]), np.concatenate([logarithm, np.zeros(len(bends))])
    return np.linalg.lstsq(*rows, rcond=None)[0]


def background_basis(radius: np.ndarray, disc_radius: float, largest: float) -> np.ndarray:
    """Return what each knot of the background adds to its logarithm, ``(..., N_BACKGROUND)``.

    Parameters
    ----------
    radius : numpy.ndarray
        ``(...)`` from the beam [pixels].
    disc_radius, largest : float
        Radius of a disc, and largest radius of all [pixels].
    """
    place = np.log1p(radius / disc_radius) / np.log1p(largest / disc_radius)
    place = place * (N_BACKGROUND - 2)
    return np.stack([spline(unit, place) for unit in np.eye(N_BACKGROUND)], axis=-1)


# ---- the network


def template_network(geometry: Geometry) -> keras.Model:
    """Build the network: strain and rotation ``(n, 4)`` to counts ``(n, n_pixels, n_pixels, 1)``.

    Parameters
    ----------
    geometry : Geometry
        Of the scan that it is to learn from.
    """
    parameters = keras.Input((4,), name="parameters", dtype="float32")
    counts = Pattern(geometry, name="pattern", dtype="float32")(parameters)
    return keras.Model(parameters, counts, name="templates")


class Pattern(Counted):
    """Background and discs of patterns.

    Parameters
    ----------
    geometry : Geometry
        Where the patterns have what at the start.
    """

    def __init__(self, geometry: Geometry, **keywords):
        super().__init__(**keywords)
        self.geometry = geometry
        self.spacing = geometry.disc_radius / KNOTS_PER_RADIUS
        self.n_knots = int(np.ceil(REACH * KNOTS_PER_RADIUS))
        self.places, self.classes = spot_classes(geometry.first_ring)
        self._n_steps = fine_steps(geometry.disc_radius, FINE)
        self._half = profile_table(np.ones(self.n_knots), self.spacing, self._n_steps).half
        self._tables = self._by_knot()
        largest = geometry.radii.max()
        self.basis = background_basis(geometry.radii, geometry.disc_radius, largest)

    def _by_knot(self) -> np.ndarray:
        """Return what each knot adds to the table of a disc, (3, n_steps² side², n_knots)."""
        tables = [
            profile_table(unit, self.spacing, self._n_steps).tables for unit in np.eye(self.n_knots)
        ]
        return np.array(tables, dtype=np.float32).reshape(self.n_knots, 3, -1).transpose(1, 2, 0)

    def build(self, _shape):
        """Make the weights; discs and background start as the geometry has them."""
        geometry = self.geometry
        radius = np.arange(self.n_knots) / KNOTS_PER_RADIUS
        profile = 1 / (1 + np.exp((radius - 1) / EDGE))
        falls = -((self.places**2).sum(axis=1) / geometry.first_ring**2 - 1) / FALL
        by_class = [falls[self.classes == c].mean() for c in range(self.classes.max() + 1)]
        self.profile_root = self._weight("profile_root", np.sqrt(profile))
        self.log_intensities = self._weight(
            "log_intensities", np.log(geometry.intensity) + np.array(by_class)
        )
        self.log_background = self._weight("log_background", np.array(geometry.background))
        self.centre = self._weight("centre", np.array(geometry.centre))

    def _weight(self, name: str, values: np.ndarray):
        initial = keras.initializers.Constant(values.astype(np.float32))
        return self.add_weight(shape=values.shape, initializer=initial, name=name)

    def call(self, parameters):
        """Return the counts to expect."""
        background = ops.exp(ops.matmul(ops.cast(self.basis, "float32"), self.log_background))
        discs = self._discs(parameters)
        # A disc's edge, linear between tabulated places, may undershoot 0.
        return ops.expand_dims(ops.relu(discs + background) + LEAST, -1)

    def _discs(self, parameters):
        """Return patterns without background, (n, n_pixels, n_pixels)."""
        side, middle = self.geometry.n_pixels, (self.geometry.n_pixels - 1) / 2
        places = _moved(parameters, ops.cast(self.places, "float32")) + self.centre + middle
        nearest = ops.round(ops.stop_gradient(places))
        patches = self._patches(places - nearest)
        steps = np.arange(-self._half, self._half + 1)
        row, column = (
            ops.cast(nearest[..., axis, None], "int32") + ops.cast(steps, "int32")
            for axis in (0, 1)
        )
        row_seen, column_seen = (
            ops.cast(ops.logical_and(at >= 0, at < side), "float32") for at in (row, column)
        )
        patches = patches * row_seen[..., :, None] * column_seen[..., None, :]
        row, column = ops.clip(row, 0, side - 1), ops.clip(column, 0, side - 1)
        n = ops.shape(parameters)[0]
        row = row + side * ops.arange(n, dtype="int32")[:, None, None]
        pixels = row[..., :, None] * side + column[..., None, :]
        counts = ops.segment_sum(
            ops.reshape(patches, (-1,)), ops.reshape(pixels, (-1,)), num_segments=n * side * side
        )
        return ops.reshape(counts, (n, side, side))

    def _patches(self, within):
        """Return discs, (n, n_spots, side, side), by where their centres lie within a pixel."""
        n_steps, n_side = self._n_steps, 2 * self._half + 1
        step = ops.floor((ops.stop_gradient(within) + 0.5) * n_steps)
        step = ops.clip(step, 0, n_steps - 1)
        left = within - ((step + 0.5) / n_steps - 0.5)
        step = ops.cast(step, "int32")
        which = step[..., 0] * n_steps + step[..., 1]
        profile = ops.square(self.profile_root)
        values, by_row, by_column = (
            ops.take(ops.reshape(ops.matmul(table, profile), (n_steps**2, -1)), which, axis=0)
            for table in self._tables
        )
        discs = values + left[..., :1] * by_row + left[..., 1:] * by_column
        intensity = ops.take(ops.exp(self.log_intensities), self.classes)
        discs = discs * intensity[:, None]
        return ops.reshape(discs, (-1, len(self.places), n_side, n_side))

    def flops(self, inputs, output):
        """Return the operations of the tables and of the background, which come once a batch."""
        return 2 * (self._tables.size + self.basis.size)

    def templates(self) -> Templates:
        """Return the templates as they stand, a disc's plateau being its intensity."""
        profile_root, intensities, background, centre = (
            keras.ops.convert_to_numpy(w).astype(float)
            for w in (self.profile_root, self.log_intensities, self.log_background, self.centre)
        )
        geometry = self.geometry
        return Templates(
            profile=profile_root**2,
            spacing=self.spacing,
            intensities=np.exp(intensities),
            background=np.exp(self.basis @ background),
            centre=centre,
            first_ring=geometry.first_ring,
            disc_radius=geometry.disc_radius,
        )


def _moved(parameters, places):
    """Return where deformed lattices have their spots, (n, n_spots, 2), from the beam."""
    xx, yy, xy, rotation = (parameters[:, i : i + 1] for i in range(4))
    cosine, sine = ops.cos(rotation), ops.sin(rotation)
    row = cosine * places[:, 0] - sine * places[:, 1]
    column = sine * places[:, 0] + cosine * places[:, 1]
    determinant = (1 + xx) * (1 + yy) - xy**2
    moved = ((1 + yy) * row - xy * column, (1 + xx) * column - xy * row)
    return ops.stack([m / determinant for m in moved], axis=-1)


def templates_of(model: keras.Model) -> Templates:
    """Return what a network of `template_network` has learned."""
    return model.get_layer("pattern").templates()


# ---- the examples


@dataclass(frozen=True)
class Scan:
    """Patterns that the network learns from, with strain and rotation as it makes them out.

    An example is a pattern, by its number: row · n_columns + column.

    Parameters
    ----------
    patterns : numpy.ndarray
        ``(n_rows, n_columns, n_pixels, n_pixels)`` [counts].
    numbers : numpy.ndarray
        ``(n,)`` int, in order: the patterns to learn from and to validate with.
    """

    patterns: np.ndarray
    numbers: np.ndarray

    def read(self, numbers: np.ndarray) -> np.ndarray:
        """Return patterns ``(n, n_pixels, n_pixels)`` by their numbers."""
        return self.patterns[np.divmod(numbers, self.patterns.shape[1])]

    def load(
        self, numbers: np.ndarray, arrays: Mapping[str, np.ndarray] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return parameters ``(n, 4)`` and patterns; without arrays the parameters are 0.

        A pattern that the model does not fit, such as one of two crystals, is replaced by another.
        """
        if not arrays:
            parameters = np.zeros((len(numbers), 4), np.float32)
        else:
            place = arrays["teacher"][np.searchsorted(self.numbers, numbers)]
            numbers, parameters = self.numbers[place], arrays["parameters"][place]
        return parameters, self.read(numbers)[..., None].astype(np.float32)

    def renew(
        self, model: keras.Model, _epochs: int, _arrays: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Fit every pattern with the templates as they stand.

        Returns
        -------
        dict of numpy.ndarray
            ``parameters`` ``(n, 4)``, and ``teacher`` ``(n,)``: which pattern stands for each.
        """
        found = self.fitted(templates_of(model))
        return {
            "parameters": found.parameters.astype(np.float32),
            "teacher": teachers(found.quality),
        }

    def fitted(self, templates: Templates) -> Fit:
        """Return the fit of all patterns, of which only a few are read at once."""

        def fit(first: int) -> Fit:
            patterns = self.read(self.numbers[first : first + PATTERNS_READ])
            return fisher_scoring(patterns, templates, start(patterns, templates))

        return Fit.joined(side_by_side(fit, range(0, len(self.numbers), PATTERNS_READ)))


def teachers(quality: np.ndarray) -> np.ndarray:
    """Return for each pattern which one to learn from: itself, or one that the model fits.

    Parameters
    ----------
    quality : numpy.ndarray
        ``(n,)``, mean square of residuals of each pattern [1].
    """
    middle = np.nanmedian(quality)
    spread = 1.4826 * np.nanmedian(np.abs(quality - middle))
    good = np.flatnonzero(quality <= middle + OUTLIER * spread)
    which = np.arange(len(quality))
    odd = np.setdiff1d(which, good)
    which[odd] = good[np.arange(len(odd)) * len(good) // max(len(odd), 1)]
    return which
