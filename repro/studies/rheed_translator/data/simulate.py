"""Synthetic RHEED patterns of SrTiO3 (001) films as a function of their Sr content.

Not a scattering calculation: five rods of a smooth film, with heights by the Ewald construction, on
a screen. How intensity, width and height of the rods depend on the Sr content was measured on the
published films, from which a film here scatters as they do. Lengths are in pixels of a frame of
210 by 280, to which the published frames were reduced for that; y runs down from the upper edge.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, ndtri

from repro.errors import ReproError
from repro.seeds import generator, uniform_rows

FRAME = (210, 280)  # height, width [px]
STOICHIOMETRIC = 50.0  # [at.%]
ORDERS = np.array([0.0, 0.5, 1.0, 1.5, 2.0])
WINDOW = (45.0, 100.0)  # rows over which the intensity of a rod is the mean [px]

# What depends on the Sr content: (at.%, value) at the corners of straight lines, level beyond.
FIRST_ORDER = ((42, 0.38), (47.5, 0.34), (50, 0.26), (55, 0.21), (61, 0.16), (70, 0.15))
SECOND_ORDER = ((37, 0.19), (42.5, 0.16), (47, 0.14), (50, 0.10), (55, 0.075), (61, 0.03))
WIDTH = ((33, 14.6), (48, 14.6), (51, 13.4), (58, 12.1), (69, 10.0))  # of (00), FWHM [px]
SPOT = ((43, 2.6), (47.5, 1.2))  # of (00), peak of the spot over the rod's mean
LOWER_MAXIMUM = ((44, 1.0), (52, 0.3))  # of (00), second Bragg maximum over the first
MAXIMUM_WIDTH = ((44, 32.0), (54, 22.0))  # of (00), FWHM along y [px]
FAN = ((47, 0.0), (52, 0.015), (61, 0.015), (70, 0.01))  # over the peak of the pattern

# And the scatter of the films about that, each a standard deviation.
SCATTER_RATIO = 0.10  # of the logarithm
SCATTER_WIDTH = 0.7  # [px]
SCATTER_SPACING = 0.7  # [px]
SCATTER_SPOT = 0.45  # of the logarithm
SCATTER_MAXIMUM = 3.0  # [px]
SCATTER_FAN = 0.4  # of the logarithm

# By order 0, 1/2, 1, 3/2, 2.
SPOT_LENGTH = np.array([14.0, 20.0, 20.0, 20.0, 20.0])  # FWHM along y [px]
WIDENING = np.array([0.0, 0.4, 0.8, 1.4, 2.3])  # FWHM along x over that of (00) [px]
SIDE_SPOT = np.array([np.nan, 1.5, 1.5, 1.0, 0.6])
SIDE_MAXIMUM_WIDTH = np.array([np.nan, 26.0, 26.0, 32.0, 38.0])  # FWHM along y [px]

FIRST_MAXIMUM, MAXIMA_PERIOD = 50.0, 27.0  # Bragg maxima along a rod [px]
SPOT_HEIGHTS = (13.0, 27.0)  # of (00), range [px]
TAIL_START, TAIL_LENGTH, TAIL = 80.0, 28.0, 0.35
HALO, HALO_SIZE = 0.025, (110.0, 170.0)  # about the rods, over the mean of (00); FWHM [px]
ARC_CONTENTS, ARC_SHARE, ARC_BRIGHTNESS = (36.5, 46.0), 0.6, (0.02, 0.07)
ARC_APEX, ARC_CURVATURE, ARC_WIDTH = 70.0, 102.0, 12.0  # [px]
FAN_HEIGHT, FAN_ANGLES, FAN_WIDTH = 60.0, (14.0, 42.0, 66.0), 9.0  # [px], from -y [degrees]
LATTICE_TOP, LATTICE_PERIOD, LATTICE_DECAY = 19.0, 55.0, 70.0  # of a transmission pattern [px]
LONE_SPOT, LONE_SPOT_LENGTH = 36.0, 26.0  # [px]
BACKGROUND, SCATTER_BACKGROUND, BACKGROUND_RANGE = 0.055, 0.55, (0.02, 0.21)
FLARE, SCATTER_FLARE = 0.6, 0.8  # over the background
DEFECT = (26.0, 146.0)  # y, x [px]
COUNTS = 1000.0  # electrons in a pixel of the frame as bright as the pattern, times the background


@dataclass(frozen=True)
class Simulation:
    """All that the films are made with: the parameters of the data spec.

    Parameters
    ----------
    height, width : int
        Size of the images [pixels].
    stoichiometry_range : list of float
        Lowest and highest Sr content, on either side of 50 [at.%].
    ti_rich_share : float
        Share of the films below 50 at.%; on either side the content is uniform [1].
    spacing : float
        Mean distance of two rods on the screen [width of the frame].
    edge_distance : float
        How far the shadow edge lies above the frame [spacings].
    scatter : float
        Scatter of the films about the trends, in that of the published films [1].
    shift : float
        Standard deviation of the pattern's place along x, two of them at most [width of the frame].
    half_order : float
        Intensity of half-order rods over that of (00); the published films have none [1].
    outlier_share : float
        Share of films with a three-dimensional or a spot pattern, half of them each [1].

    Raises
    ------
    ReproError
        If a value makes no sense.
    """

    height: int
    width: int
    stoichiometry_range: list[float]
    ti_rich_share: float
    spacing: float
    edge_distance: float
    scatter: float
    shift: float
    half_order: float
    outlier_share: float

    def __post_init__(self):
        if min(self.height, self.width) < 8:
            raise ReproError(
                f"An image of {self.height} by {self.width} pixels holds no pattern: give at "
                "least 8 by 8."
            )
        contents = [0, *self.stoichiometry_range, 100]
        if len(contents) != 4 or contents != sorted(contents) or not self._holds_both_kinds:
            raise ReproError(
                "stoichiometry_range takes the lowest and the highest Sr content in at.%, below "
                f"and above 50, not {self.stoichiometry_range}."
            )
        for name in ("ti_rich_share", "outlier_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ReproError(f"{name} is {getattr(self, name)}: give a share from 0 to 1.")
        for name in ("edge_distance", "scatter", "shift", "half_order"):
            if getattr(self, name) < 0:
                raise ReproError(f"{name} is {getattr(self, name)}: give 0 or more.")
        if not 0 < self.spacing <= 0.25:
            raise ReproError(
                f"With a spacing of {self.spacing} the five rods do not stand in the frame: give "
                "at most 0.25 of its width."
            )

    @property
    def _holds_both_kinds(self) -> bool:
        low, high = self.stoichiometry_range
        return low < STOICHIOMETRIC < high

    @property
    def y(self) -> np.ndarray:
        """Heights of the pixels, ``(height,)`` float32 [px]."""
        return _centres(self.height, FRAME[0])

    @property
    def x(self) -> np.ndarray:
        """Places of the pixels along x, ``(width,)`` float32 [px]."""
        return _centres(self.width, FRAME[1])


@dataclass(frozen=True)
class Traits:
    """What is drawn for each of n films.

    Parameters
    ----------
    stoichiometry : numpy.ndarray
        ``(n,)`` Sr content [at.%].
    is_lattice, is_spot : numpy.ndarray
        ``(n,)`` bool, outliers: three-dimensional transmission pattern, single spot.
    centre, spacing : numpy.ndarray
        ``(n,)`` place of the (00) rod along x and distance of two rods [px].
    intensity : numpy.ndarray
        ``(n, 5)`` mean of each of `ORDERS` over `WINDOW`, that of (00) being 1.
    width : numpy.ndarray
        ``(n, 5)`` FWHM of the rods along x [px].
    spot, spot_height : numpy.ndarray
        ``(n, 5)`` peak of the spot on each rod over the rod's mean, and its y [px].
    maximum, maximum_width, lower_maximum : numpy.ndarray
        ``(n, 1)`` y of the first Bragg maximum along the rods [px]; ``(n, 5)`` FWHM along y [px]
        and peak of the second maximum over the first.
    arcs, fan : numpy.ndarray
        ``(n,)`` Kikuchi arcs and Kikuchi lines over the peak of the pattern.
    background, flare : numpy.ndarray
        ``(n,)`` diffuse background and the flare at the screen's defect, over the same.
    """

    stoichiometry: np.ndarray
    is_lattice: np.ndarray
    is_spot: np.ndarray
    centre: np.ndarray
    spacing: np.ndarray
    intensity: np.ndarray
    width: np.ndarray
    spot: np.ndarray
    spot_height: np.ndarray
    maximum: np.ndarray
    maximum_width: np.ndarray
    lower_maximum: np.ndarray
    arcs: np.ndarray
    fan: np.ndarray
    background: np.ndarray
    flare: np.ndarray


def films(start: int, stop: int, seed: int, parameters: dict) -> dict[str, np.ndarray]:
    """Make the synthetic films ``start`` to ``stop`` of the data set.

    Parameters
    ----------
    start, stop : int
        First film, and the one after the last.
    seed : int
        The data set's seed.
    parameters : dict
        Those of `Simulation`.

    Returns
    -------
    dict of numpy.ndarray
        ``images`` ``(n, height, width)`` float32, over the image's maximum; ``stoichiometry``
        ``(n,)`` float64 [at.%]; ``is_outlier`` ``(n,)`` uint8.
    """
    simulation = Simulation(**parameters)
    drawn = draw_films(simulation, start, stop, seed)
    images = on_screen(simulation, drawn, pattern(simulation, drawn))
    for i, image in enumerate(images):
        add_noise(image, drawn.background[i], generator(seed, "noise", str(start + i)))
    return {
        "images": images / images.max(axis=(1, 2), keepdims=True),
        "stoichiometry": drawn.stoichiometry,
        "is_outlier": (drawn.is_lattice | drawn.is_spot).astype(np.uint8),
    }


def draw_films(simulation: Simulation, start: int, stop: int, seed: int) -> Traits:
    """Draw the films ``start`` to ``stop``; see `Traits`."""

    def uniform(what: str) -> np.ndarray:
        return uniform_rows(seed, what, start, stop, 1)

    def normal(what: str) -> np.ndarray:
        return ndtri(uniform(what))

    def scattered(what: str, deviation: float) -> np.ndarray:
        return simulation.scatter * deviation * normal(what)

    content = stoichiometry(simulation, uniform("stoichiometry"))
    kind, share = uniform("outlier"), simulation.outlier_share
    is_outlier = kind < share
    low, high = SPOT_HEIGHTS
    has_arcs = (uniform("has arcs") < ARC_SHARE) & _within(content, ARC_CONTENTS)
    spacing = simulation.spacing * FRAME[1] + scattered("spacing", SCATTER_SPACING)
    background = np.clip(
        BACKGROUND * np.exp(SCATTER_BACKGROUND * normal("background")), *BACKGROUND_RANGE
    )
    by_film = {
        "stoichiometry": content,
        "is_lattice": kind < share / 2,
        "is_spot": (kind >= share / 2) & is_outlier,
        "centre": FRAME[1] * (0.485 + simulation.shift * np.clip(normal("shift"), -2, 2)),
        "spacing": spacing,
        "arcs": (has_arcs & ~is_outlier) * _between(ARC_BRIGHTNESS, uniform("arcs")),
        "fan": ~is_outlier * trend(FAN, content) * np.exp(scattered("fan", SCATTER_FAN)),
        "background": background,
        "flare": background * FLARE * np.exp(SCATTER_FLARE * normal("flare")),
    }
    return Traits(
        **{name: values[:, 0] for name, values in by_film.items()},
        intensity=_intensity(simulation, content, scattered),
        width=trend(WIDTH, content) + scattered("width", SCATTER_WIDTH) + WIDENING,
        spot=_by_order(trend(SPOT, content), SIDE_SPOT)
        * np.exp(scattered("spot", SCATTER_SPOT) * (ORDERS == 0)),
        spot_height=ewald_height(
            low + (high - low) * uniform("spot height") ** 2,
            spacing,
            -simulation.edge_distance * spacing,
        ),
        maximum=FIRST_MAXIMUM + scattered("maximum", SCATTER_MAXIMUM),
        maximum_width=_by_order(trend(MAXIMUM_WIDTH, content), SIDE_MAXIMUM_WIDTH),
        lower_maximum=np.maximum(trend(LOWER_MAXIMUM, content), 0.7 * (ORDERS > 0)),
    )


def stoichiometry(simulation: Simulation, share: np.ndarray) -> np.ndarray:
    """Return the Sr content below which a share of all films lies [at.%].

    Parameters
    ----------
    simulation : Simulation
        Range, and share of the films below 50 at.%.
    share : numpy.ndarray
        From 0 to 1.
    """
    low, high = simulation.stoichiometry_range
    return np.interp(share, [0, simulation.ti_rich_share, 1], [low, STOICHIOMETRIC, high])


def trend(corners: tuple, content: np.ndarray) -> np.ndarray:
    """Return a quantity at a Sr content [at.%] on straight lines between corners."""
    return np.interp(content, *np.transpose(corners))


def _intensity(simulation: Simulation, content: np.ndarray, scattered) -> np.ndarray:
    """Return the mean of each rod, ``(n, 5)``."""
    first = trend(FIRST_ORDER, content) * np.exp(scattered("first order", SCATTER_RATIO))
    second = trend(SECOND_ORDER, content) * np.exp(scattered("second order", SCATTER_RATIO))
    half = np.full_like(first, simulation.half_order)
    return np.hstack([np.ones_like(first), half, first, half, second])


def ewald_height(specular: np.ndarray, spacing: np.ndarray, edge: np.ndarray) -> np.ndarray:
    """Return the y at which each rod meets the Ewald sphere, ``(n, 5)`` [px].

    The zeroth Laue zone is a circle about the place of the straight-through beam on the shadow
    edge, and a rod stands its order times the spacing beside it. NaN outside the circle.

    Parameters
    ----------
    specular, spacing, edge : numpy.ndarray
        ``(n, 1)`` y of the specular spot, distance of two rods, y of the shadow edge [px].
    """
    squares = (specular - edge) ** 2 - (ORDERS * spacing) ** 2
    return edge + np.sqrt(np.where(squares >= 0, squares, np.nan))


def pattern(simulation: Simulation, drawn: Traits) -> np.ndarray:
    """Return the diffraction patterns alone, ``(n, height, width)`` float32, brightest part 1."""
    dx = simulation.x - drawn.centre[:, None].astype(np.float32)
    offsets = (ORDERS * drawn.spacing[:, None])[..., None].astype(np.float32)
    lateral = _bell(dx[:, None] - offsets, drawn.width) + _bell(dx[:, None] + offsets, drawn.width)
    lateral[:, 0] /= 2
    vertical = rods(simulation, drawn)
    image = np.swapaxes(vertical, 1, 2) @ lateral
    image += HALO * (
        _bell(simulation.y - 55, HALO_SIZE[0])[:, None] * _bell(dx, HALO_SIZE[1])[:, None]
    )
    image /= image.max(axis=(1, 2), keepdims=True)
    image += kikuchi_arcs(simulation, drawn, dx)
    image += kikuchi_fan(simulation, drawn, dx)
    return image


def rods(simulation: Simulation, drawn: Traits) -> np.ndarray:
    """Return the intensity of the rods along y, ``(n, 5, height)`` float32.

    A rod of a smooth film has a spot where it meets the Ewald sphere and, being broadened by
    terraces, a streak below with Bragg maxima and a tail. Its mean over `WINDOW` is its drawn
    intensity.
    """
    y = simulation.y
    window = _within(y, WINDOW)
    first = drawn.maximum[..., None]
    upper = _bell(y - first, drawn.maximum_width)
    lower = _bell(y - first - MAXIMA_PERIOD, drawn.maximum_width)
    smooth = upper + drawn.lower_maximum[..., None] * lower
    beyond = y - TAIL_START
    smooth += TAIL * expit(beyond / 8) * np.exp(-np.maximum(beyond, 0) / TAIL_LENGTH)
    smooth /= smooth[..., window].mean(axis=-1, keepdims=True)
    spots = np.nan_to_num(_bell(y - drawn.spot_height[..., None], SPOT_LENGTH))
    smooth += drawn.spot[..., None] * spots
    smooth /= smooth[..., window].mean(axis=-1, keepdims=True)
    smooth *= drawn.intensity[..., None]
    smooth[drawn.is_lattice] = lattice(y)
    smooth[drawn.is_spot] = lone_spot(y)
    return smooth.astype(np.float32)


def lattice(y: np.ndarray) -> np.ndarray:
    """Return the rods of a three-dimensional film, ``(5, height)``: spots, in a centred lattice."""
    heights = LATTICE_TOP + LATTICE_PERIOD * (np.arange(4) + ORDERS[:, None] % 2 / 2)
    spots = _bell(y - heights[..., None], 20.0) * np.exp(-heights / LATTICE_DECAY)[..., None]
    strengths = np.array([1.0, 0, 0.7, 0, 0.4])
    return strengths[:, None] * (spots.sum(axis=1) + 0.05 * np.exp(-y / LATTICE_DECAY))


def lone_spot(y: np.ndarray) -> np.ndarray:
    """Return the rods of a film that shows a single elongated spot, ``(5, height)``."""
    spot = _bell(y - LONE_SPOT, LONE_SPOT_LENGTH)
    tail = 0.15 * expit((y - LONE_SPOT) / 8) * np.exp(-np.maximum(y - 2 * LONE_SPOT, 0) / 25)
    return np.where(ORDERS[:, None] == 0, spot + tail, 0.0)


def kikuchi_arcs(simulation: Simulation, drawn: Traits, dx: np.ndarray) -> np.ndarray:
    """Return the parabola to which Kikuchi lines of Ti-rich films gather, seen beside (00)."""
    sideways = np.abs(dx)
    apex_distance = simulation.y[:, None] - (ARC_APEX - sideways**2 / ARC_CURVATURE)[:, None]
    slope = 2 * sideways / ARC_CURVATURE
    distance = apex_distance / np.sqrt(1 + slope**2)[:, None]
    visible = drawn.arcs[:, None] * np.exp(-(((sideways - 70) / 35) ** 2))
    return _bell(distance, ARC_WIDTH) * visible[:, None].astype(np.float32)


def kikuchi_fan(simulation: Simulation, drawn: Traits, dx: np.ndarray) -> np.ndarray:
    """Return the faint lines of well-ordered films, that spread from under the (00) rod."""
    down = simulation.y[:, None] - np.float32(FAN_HEIGHT)
    angle = np.degrees(np.arctan2(np.abs(dx)[:, None], down))
    radius = np.hypot(dx[:, None], down)
    lines = sum(_bell(angle - line, FAN_WIDTH) for line in FAN_ANGLES)
    seen = expit((radius - 45) / 8) * np.exp(-radius / 120)
    return lines * seen * drawn.fan[:, None, None].astype(np.float32)


def on_screen(simulation: Simulation, drawn: Traits, patterns: np.ndarray) -> np.ndarray:
    """Return patterns with the screen's glow, defect and flare, which do not move with them.

    Parameters
    ----------
    simulation : Simulation
        Size of the images.
    drawn : Traits
        Background and flare.
    patterns : numpy.ndarray
        ``(n, height, width)`` float32.
    """
    y, x = simulation.y[:, None], simulation.x
    glow = np.broadcast_to(1.1 - 0.2 * y / FRAME[0], (simulation.height, simulation.width))
    flare = np.exp(-(((y - 28) / 6) ** 2) - ((x - 153) / 32) ** 4)
    hole = 1 - 0.75 * np.exp(-(((y - DEFECT[0]) / 8) ** 2) - ((x - DEFECT[1]) / 6) ** 2)
    levels = np.stack([drawn.background, drawn.flare], axis=1).astype(np.float32)
    light = patterns + np.tensordot(levels, np.stack([glow, flare]), axes=1)
    return (light * hole).astype(np.float32)


def add_noise(image: np.ndarray, background: float, random: np.random.Generator) -> None:
    """Count the electrons of an image, in place.

    The darker the pattern, the brighter the background beside it: a film with twice the background
    has half the electrons.

    Parameters
    ----------
    image : numpy.ndarray
        ``(height, width)`` float32, brightest part about 1.
    background : float
        The film's background, over the brightest part.
    random : numpy.random.Generator
        Where the noise comes from.
    """
    pixel_area = FRAME[0] * FRAME[1] / image.size  # [px²]
    counts = np.float32(COUNTS / background * pixel_area)
    noise = random.standard_normal(image.shape, dtype=np.float32)
    image += np.sqrt(image / counts) * noise
    np.maximum(image, 0, out=image)


def _centres(n: int, length: float) -> np.ndarray:
    return ((np.arange(n) + 0.5) * (length / n)).astype(np.float32)


def _bell(distance: np.ndarray, fwhm: np.ndarray | float) -> np.ndarray:
    """Return a Gaussian of height 1; a FWHM of each row of distances, or one of all."""
    sigma = np.asarray(fwhm, dtype=np.float32) / np.float32(np.sqrt(8 * np.log(2)))
    return np.exp(-0.5 * (distance / (sigma[..., None] if sigma.ndim else sigma)) ** 2)


def _by_order(of_00: np.ndarray, of_sides: np.ndarray) -> np.ndarray:
    return np.where(ORDERS == 0, of_00, of_sides)


def _between(limits: tuple[float, float], share: np.ndarray) -> np.ndarray:
    return limits[0] + (limits[1] - limits[0]) * share


def _within(values: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    return (values >= limits[0]) & (values < limits[1])
