"""4D-STEM scans of strained WS2, a STAND-IN for the published one: kinematic discs and counts.

Lengths on the detector are in pixels of the published detector, of which a pixel here may bin
several. A sample is a row of a scan.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.ndimage import map_coordinates, spline_filter
from scipy.special import expit

from repro.errors import ReproError
from repro.seeds import generator
from repro.studies.strain_ae.lattice import deformation, spots
from repro.studies.strain_ae.scans import FIELD, REFERENCE_ROTATION, beam_at

CALIBRATION = 0.0096  # of a pixel of the published detector [Å⁻¹]
BACKGROUND_WIDTH = 0.01  # half-width of the Lorentzian [cycles / pixel]
BACKGROUND_SIZE = 200  # pixels of the crop that its frequencies count
SUBPIXEL = 0.125  # distance of the points over which a disc is averaged [published pixels]
TABLE_STEP = 0.0625  # of the places at which that is done, cubic between [published pixels]
NOISE_FREE = 0.0
LEAST_HOLE = 1e-9  # share of the beam that meets no crystal; below, it is rounding


@dataclass(frozen=True)
class Detector:
    """Discs, background and pixels of the detector.

    Parameters
    ----------
    n_pixels : int
        Pixels along each side.
    pixel_size : float
        Side of a pixel [published pixels].
    beam_offset : float
        Place of the direct beam from the detector's middle, along both axes [published pixels].
    disc_radius, disc_edge : float
        Radius of a disc and width of its logistic edge [published pixels].
    first_ring : float
        |g| of the first ring [published pixels].
    """

    n_pixels: int
    pixel_size: float
    beam_offset: float
    disc_radius: float
    disc_edge: float
    first_ring: float

    @property
    def places(self) -> np.ndarray:
        """Places of the pixels along a side, from the middle, ``(n_pixels,)``."""
        return (np.arange(self.n_pixels) - (self.n_pixels - 1) / 2) * self.pixel_size

    @cached_property
    def spots(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Places, plateaus and rings; see `repro.studies.strain_ae.lattice.spots`."""
        return spots(self.first_ring)

    @cached_property
    def background(self) -> np.ndarray:
        """Share of the background in each pixel, ``(n_pixels, n_pixels)``, summing to 1."""
        return lorentzian(self.places)

    def patterns(self, deformations: np.ndarray) -> np.ndarray:
        """Return patterns of crystals without background.

        Parameters
        ----------
        deformations : numpy.ndarray
            ``(n, 2, 2)``, as `repro.studies.strain_ae.lattice.deformation` returns them.

        Returns
        -------
        numpy.ndarray
            ``(n, n_pixels, n_pixels)`` share of the electrons in each pixel.
        """
        places, plateaus, _ = self.spots
        plateaus = plateaus * (self.pixel_size**2 / 1e5)
        beam = self._plateau_of_all - plateaus.sum()  # all the other electrons
        images = np.zeros((len(deformations), self.n_pixels, self.n_pixels))
        moved = np.einsum("nij,sj->nsi", deformations, places) + self.beam_offset
        self._add_discs(images, self._beam_at(len(images)), np.array([beam]))
        self._add_discs(images, moved, plateaus)
        return images

    @property
    def beam(self) -> np.ndarray:
        """The pattern of no crystal, ``(n_pixels, n_pixels)``: the direct beam alone."""
        image = np.zeros((1, self.n_pixels, self.n_pixels))
        self._add_discs(image, self._beam_at(1), np.array([self._plateau_of_all]))
        return image[0]

    @property
    def _plateau_of_all(self) -> float:
        """Share of the electrons in a pixel of a disc that holds them all."""
        area = np.pi * (self.disc_radius**2 + (np.pi * self.disc_edge) ** 2 / 3)
        return self.pixel_size**2 / area

    def _beam_at(self, n: int) -> np.ndarray:
        """Return the place of the direct beam in n patterns, ``(n, 1, 2)``."""
        return np.full((n, 1, 2), self.beam_offset)

    def _add_discs(self, images: np.ndarray, centres: np.ndarray, plateaus: np.ndarray) -> None:
        """Add discs to images: centres ``(n, n_discs, 2)``, plateaus ``(n_discs,)``."""
        half = int(np.ceil(self._reach / self.pixel_size)) + 1
        middle = (self.n_pixels - 1) / 2
        nearest = np.rint(centres / self.pixel_size + middle).astype(int)
        inside = ((nearest >= -half) & (nearest < self.n_pixels + half)).all(axis=2)
        number, disc = np.nonzero(inside)
        centres, nearest = centres[inside], nearest[inside]
        steps = np.arange(-half, half + 1)
        for which in np.array_split(np.arange(len(number)), len(number) // 512 + 1):
            offset = (nearest[which] - middle) * self.pixel_size - centres[which]
            covered = self.coverage(offset, steps * self.pixel_size)
            rows, columns = (nearest[which, axis, None] + steps for axis in (0, 1))
            seen = ((rows >= 0) & (rows < self.n_pixels))[:, :, None]
            seen = seen & ((columns >= 0) & (columns < self.n_pixels))[:, None, :]
            flat = (number[which, None, None] * self.n_pixels + rows[:, :, None]) * self.n_pixels
            flat = np.where(seen, flat + columns[:, None, :], 0)
            values = covered * plateaus[disc[which], None, None] * seen
            np.add.at(images.reshape(-1), flat, values)

    def coverage(self, offsets: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """Return the share of pixels that a disc covers, its soft edge averaged over each pixel.

        Parameters
        ----------
        offsets : numpy.ndarray
            ``(n, 2)``, from the disc's centre to the middle of a patch [published pixels].
        steps : numpy.ndarray
            ``(p,)``, from there to the pixels of the patch [published pixels].

        Returns
        -------
        numpy.ndarray
            ``(n, p, p)``.
        """
        row, column = (np.abs(offsets[:, axis, None] + steps) / TABLE_STEP for axis in (0, 1))
        places = np.broadcast_arrays(row[:, :, None], column[:, None, :])
        return map_coordinates(self._disc, places, order=3, mode="nearest", prefilter=False)

    @cached_property
    def _disc(self) -> np.ndarray:
        """Spline coefficients of `coverage` by row and column from the centre, a quadrant."""
        n_fine = int(np.ceil(self.pixel_size / SUBPIXEL))
        fine = ((np.arange(n_fine) + 0.5) / n_fine - 0.5) * self.pixel_size
        n = int(np.ceil((self._reach + 2 * self.pixel_size) / TABLE_STEP)) + 1
        along = (np.arange(n)[:, None] * TABLE_STEP + fine).ravel() ** 2
        table = np.empty((n, n))
        for i, squares in enumerate(along.reshape(n, n_fine)):
            inside = expit((self.disc_radius - np.sqrt(squares[:, None] + along)) / self.disc_edge)
            table[i] = inside.mean(axis=0).reshape(n, n_fine).mean(axis=1)
        return spline_filter(table, order=3, mode="mirror")

    @property
    def _reach(self) -> float:
        """How far from its centre a disc is seen [published pixels]."""
        return self.disc_radius + 8 * self.disc_edge


@dataclass(frozen=True)
class Simulation:
    """All that the scans are made with: the parameters of the data spec.

    Parameters
    ----------
    n_rows, n_columns : int
        Positions of a scan.
    scans : list of str
        What is scanned, one scan after the other; see `repro.studies.strain_ae.scans.KINDS`.
    probe_radius : float
        Radius of the beam [scan pixels].
    noise : float
        Share of the electrons that are background; at 0 there is no counting noise either.
    count_type : str
        NumPy type of the patterns; at noise 0 a float.
    dose : float
        Electrons in a pattern.
    n_pixels, pixel_size, beam_offset, disc_radius, disc_edge, first_ring
        Of the `Detector`.

    Raises
    ------
    ReproError
        If a value makes no sense.
    """

    n_rows: int
    n_columns: int
    scans: list[str]
    probe_radius: float
    noise: float
    dose: float
    n_pixels: int
    pixel_size: float
    beam_offset: float
    disc_radius: float
    disc_edge: float
    first_ring: float
    count_type: str = "float32"

    def __post_init__(self):
        if not 0 <= self.noise < 1:
            raise ReproError(f"noise is {self.noise}: give a share from 0 to below 1.")
        for name in ("n_rows", "n_columns", "n_pixels", "pixel_size", "dose", "disc_radius"):
            if getattr(self, name) <= 0:
                raise ReproError(f"{name} is {getattr(self, name)}: give a number above 0.")
        if self.disc_edge <= 0 or self.probe_radius < 0:
            raise ReproError("disc_edge must be above 0, probe_radius at least 0.")
        reach = self.n_pixels * self.pixel_size / 2
        if reach < self.first_ring + self.disc_radius:
            raise ReproError(
                f"The first ring, at {self.first_ring} pixels, lies outside a detector that "
                f"reaches {reach:g} pixels: give more pixels, or larger ones."
            )

    @cached_property
    def detector(self) -> Detector:
        """The detector."""
        names = Detector.__dataclass_fields__
        return Detector(**{name: getattr(self, name) for name in names})

    @property
    def row_places(self) -> np.ndarray:
        """Rows of the positions of a scan, ``(n_rows,)`` [scan pixels]."""
        return (np.arange(self.n_rows) + 0.5) * (FIELD / self.n_rows) - 0.5

    @property
    def column_places(self) -> np.ndarray:
        """Columns of the positions of a scan, ``(n_columns,)`` [scan pixels]."""
        return (np.arange(self.n_columns) + 0.5) * (FIELD / self.n_columns) - 0.5

    def expected(self, deformations: np.ndarray, shares: np.ndarray) -> np.ndarray:
        """Return the electrons to expect in each pixel, background included.

        Parameters
        ----------
        deformations, shares : numpy.ndarray
            ``(n, m, 2, 2)`` and ``(n, m)``: the crystals that each pattern mixes; what they lack
            to 1 goes into the direct beam.

        Returns
        -------
        numpy.ndarray
            ``(n, n_pixels, n_pixels)``.
        """
        flat = deformations.reshape(-1, 4)
        distinct, which = np.unique(flat, axis=0, return_inverse=True)
        pure = self.detector.patterns(distinct.reshape(-1, 2, 2))
        which = which.reshape(shares.shape)
        mixed = sum(shares[:, i, None, None] * pure[which[:, i]] for i in range(shares.shape[1]))
        holes = 1 - shares.sum(axis=1)
        if holes.max() > LEAST_HOLE:
            mixed = mixed + holes[:, None, None] * self.detector.beam
        return self.dose * ((1 - self.noise) * mixed + self.noise * self.detector.background)


def lorentzian(places: np.ndarray) -> np.ndarray:
    """Return the share of the background in each pixel, ``(n_pixels, n_pixels)``, summing to 1.

    Parameters
    ----------
    places : numpy.ndarray
        Of the pixels along a side, from the middle, ``(n_pixels,)`` [published pixels].
    """
    frequency = places / BACKGROUND_SIZE
    squares = frequency[:, None] ** 2 + frequency**2
    shares = 1 / (1 + squares / BACKGROUND_WIDTH**2)
    return shares / shares.sum()


def rows(start: int, stop: int, seed: int, parameters: dict) -> dict[str, np.ndarray]:
    """Make the rows ``start`` to ``stop`` of the data set, scan after scan.

    Parameters
    ----------
    start, stop : int
        First row, and the one after the last.
    seed : int
        The data set's seed.
    parameters : dict
        Those of `Simulation`.

    Returns
    -------
    dict of numpy.ndarray
        The variables of the data spec, first axis the row.

    Raises
    ------
    ReproError
        If there are more rows than the scans have.
    """
    simulation = Simulation(**parameters)
    if stop > simulation.n_rows * len(simulation.scans):
        raise ReproError(
            f"{len(simulation.scans)} scans of {simulation.n_rows} rows have no row {stop - 1}: "
            "give more scans, or fewer samples."
        )
    made = [row(simulation, number, seed) for number in range(start, stop)]
    return {name: np.stack([arrays[name] for arrays in made]) for name in made[0]}


def row(simulation: Simulation, number: int, seed: int) -> dict[str, np.ndarray]:
    """Make one row of all scans; see `rows`."""
    scan, within = divmod(number, simulation.n_rows)
    columns = simulation.column_places
    positions = np.stack([np.full_like(columns, simulation.row_places[within]), columns], axis=1)
    beam = beam_at(simulation.scans[scan], positions, simulation.probe_radius, seed, scan)
    expected = simulation.expected(deformation(beam.strain, beam.rotation), beam.shares)
    if simulation.noise != NOISE_FREE:
        expected = generator(seed, "counts", str(number)).poisson(expected)
    share, strain, rotation = beam.largest
    return {
        "patterns": counts_as(expected, simulation.count_type),
        "strain": strain,
        "rotation": np.rad2deg(rotation - REFERENCE_ROTATION),
        "share": share,
        "grain": beam.grain.astype(np.int16),
        "scan": np.array(scan, dtype=np.int16),
    }


def counts_as(counts: np.ndarray, dtype: str) -> np.ndarray:
    """Return counts as a type that holds them.

    Raises
    ------
    ReproError
        If it does not: one is too large for it, or they are no whole numbers, which only patterns
        without counting noise are.
    """
    kind = np.dtype(dtype)
    if kind.kind in "iu" and counts.dtype.kind == "f":
        raise ReproError(
            f"Without noise patterns are no whole numbers: set count_type to float32, not {dtype}."
        )
    if kind.kind in "iu" and counts.max() > np.iinfo(kind).max:
        raise ReproError(
            f"A pixel has {counts.max():.0f} counts, more than {dtype} holds: set count_type to a "
            "larger type, or dose to less."
        )
    return counts.astype(kind)


def axes(parameters: dict) -> dict[str, tuple[np.ndarray, str]]:
    """Return values and unit of the patterns' axes: ``column``, ``q_x`` and ``q_y``.

    Parameters
    ----------
    parameters : dict
        Those of `Simulation`.
    """
    simulation = Simulation(**parameters)
    frequencies = (simulation.detector.places - simulation.beam_offset) * CALIBRATION
    return {
        "column": (simulation.column_places, "pixels"),
        "q_x": (frequencies, "Å⁻¹"),
        "q_y": (frequencies, "Å⁻¹"),
    }


def seconds_per_sample(parameters: dict, workers: int) -> float:
    """Return how long workers take for a row on this machine [s], from one that is made."""
    started = time.perf_counter()
    row(Simulation(**parameters), 0, 0)
    return (time.perf_counter() - started) / workers
