"""A specimen of BaTiO3, a STAND-IN: its domains at any temperature, and their stripes.

Lengths are in pixels. All fields are static: what changes with temperature is where they are
exceeded, so that the area of every class is known exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.ndimage import binary_opening, gaussian_filter, zoom

from repro.seeds import generator

CLASSES = ("void", "none", "a-c horizontal", "a-c vertical", "a-a left", "a-a right")
VOID, NONE, AC_HORIZONTAL, AC_VERTICAL, AA_LEFT, AA_RIGHT = range(6)
AC, AA = (AC_HORIZONTAL, AC_VERTICAL), (AA_LEFT, AA_RIGHT)
STRIPED = (*AC, *AA)
# Of the stripes, from the columns' direction towards the top of the frame [degrees].
DIRECTIONS = {AC_HORIZONTAL: 0.0, AC_VERTICAL: 90.0, AA_LEFT: 135.0, AA_RIGHT: 45.0}
PERIODS = {AC_HORIZONTAL: 17.0, AC_VERTICAL: 15.0, AA_LEFT: 19.0, AA_RIGHT: 18.0}
PERIOD_SPREAD = 0.1  # largest departure of a specimen's period [1]
REFERENCE_EXTENT, REFERENCE_WINDOW = 512, 64  # of specimen and window that lengths are for
CHANGE_LENGTH, VARIANT_LENGTH, BEND_LENGTH = 60, 70, 90  # of the fields
BRIGHTNESS = ((120, 0.12), (50, 0.05))  # length and weight of what bends and thickness make
AMORPHOUS_LENGTH, AMORPHOUS_FROM, AMORPHOUS_OPENING = 50, 1.6, 5
CHANGE, CHANGE_SPREAD = 62.0, 6.0  # from a-c to a-a on heating [°C]
END, END_SPREAD, END_LIMITS = 150.0, 25.0, (105.0, 188.0)  # of all domains [°C]
AC_VERTICAL_FROM, AA_RIGHT_FROM = -0.4, -0.6
BEND = 6.0  # by which stripes are shifted, rms
SOFTNESS = 2.0  # of the edges of domains
CORNER = 0.18  # sides of the two cut corners [frame]
VOID_BRIGHTNESS = 0.05
FINENESS = 4  # points of a field within its length


@dataclass(frozen=True)
class Specimen:
    """One specimen.

    Parameters
    ----------
    number : int
        Which; all fields follow from it and the seed.
    seed : int
        The data set's.
    size : int
        Side of the frame.
    extent : int
        Side of the specimen, of which the frame shows the upper left; fields grow with it.
    window : int
        Side of the windows that the frame will be cut into; periods grow with it.
    surviving : float
        Share of the area where the environment lets domains form [1].
    coexistence : float
        Spread of the temperature at which a-c turns to a-a, over that in vacuum [1].
    """

    number: int
    seed: int
    size: int
    extent: int
    window: int
    surviving: float = 1.0
    coexistence: float = 1.0

    # ---- where domains are

    def labels(self, temperature: float, hysteresis: float = 0.0) -> np.ndarray:
        """Return the class of each pixel, ``(size, size)`` uint8.

        Parameters
        ----------
        temperature : float
            Of the specimen [°C].
        hysteresis : float
            How much later a-a turns back to a-c on cooling [°C]; 0 on heating.
        """
        is_aa = temperature >= self.change - hysteresis
        found = np.where(is_aa, self._variants[1], self._variants[0])
        found[(temperature >= self.end) | self.dead] = NONE
        found[self.void] = VOID
        return found

    @cached_property
    def change(self) -> np.ndarray:
        """Where a-c turns to a-a on heating, ``(size, size)`` [°C]."""
        return CHANGE + CHANGE_SPREAD * self.coexistence * self.field("change", CHANGE_LENGTH)

    @cached_property
    def end(self) -> np.ndarray:
        """From where on no domain is left, ``(size, size)`` [°C]."""
        return np.clip(END + END_SPREAD * self.field("end", CHANGE_LENGTH), *END_LIMITS)

    @cached_property
    def dead(self) -> np.ndarray:
        """Where no domain forms at any temperature, ``(size, size)`` bool."""
        side = max(round(AMORPHOUS_OPENING * self._scale), 1)
        amorphous = self.field("amorphous", AMORPHOUS_LENGTH) > AMORPHOUS_FROM
        suppression = self.field("suppression", CHANGE_LENGTH)
        suppressed = suppression > np.quantile(suppression, self.surviving)
        return binary_opening(amorphous, np.ones((side, side))) | suppressed

    @cached_property
    def void(self) -> np.ndarray:
        """Where there is no specimen, two cut corners, ``(size, size)`` bool."""
        rows, columns = np.indices((self.size, self.size)) / self.size
        return (rows + columns < CORNER) | (rows + columns > 2 - CORNER)

    @cached_property
    def _variants(self) -> tuple[np.ndarray, np.ndarray]:
        """Which a-c and which a-a forms where, ``(size, size)`` uint8 each."""
        ac = np.where(self.field("a-c", VARIANT_LENGTH) > AC_VERTICAL_FROM, AC_VERTICAL, AC[0])
        aa = np.where(self.field("a-a", VARIANT_LENGTH) > AA_RIGHT_FROM, AA_RIGHT, AA[0])
        return ac.astype(np.uint8), aa.astype(np.uint8)

    # ---- what they look like

    @cached_property
    def brightness(self) -> np.ndarray:
        """What bends and thickness make, without stripes, ``(size, size)`` [full scale]."""
        waves = sum(w * self.field(f"brightness {length}", length) for length, w in BRIGHTNESS)
        return np.clip(0.45 + waves, 0.15, 0.95)

    def stripes(self, label: int) -> np.ndarray:
        """Return the needles of a class as if it were everywhere, ``(size, size)`` of mean 0."""
        return self._stripes[label]

    @cached_property
    def _stripes(self) -> dict[int, np.ndarray]:
        return {label: needles(self.phase(label)).astype(np.float32) for label in STRIPED}

    def phase(self, label: int) -> np.ndarray:
        """Return the phase of a class's stripes, ``(size, size)`` [rad]."""
        angle = np.deg2rad(DIRECTIONS[label])
        rows, columns = self._shifted
        return 2 * np.pi * (rows * np.cos(angle) + columns * np.sin(angle)) / self.period(label)

    def period(self, label: int) -> float:
        """Return the period of a class's stripes where they are not bent [pixels]."""
        draws = generator(self.seed, "domain_ae", f"specimen {self.number}", f"period {label}")
        change = PERIOD_SPREAD * draws.uniform(-1, 1)
        return PERIODS[label] * (1 + change) * self.window / REFERENCE_WINDOW

    def wave(self, label: int) -> tuple[np.ndarray, np.ndarray]:
        """Return direction [degrees] and period [pixels] of bent stripes, ``(size, size)`` each."""
        down, right = np.gradient(self.phase(label))
        direction = np.rad2deg(np.arctan2(right, down)) % 180
        return direction, 2 * np.pi / np.hypot(down, right)

    @cached_property
    def _shifted(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows and columns, shifted as stripes are bent, ``(size, size)`` each."""
        places = np.indices((self.size, self.size)).astype(float)
        bent = (self.field(f"bend {axis}", BEND_LENGTH) for axis in ("down", "right"))
        return tuple(p + BEND * self._scale * b for p, b in zip(places, bent, strict=True))

    def image(self, labels: np.ndarray, contrast: float) -> np.ndarray:
        """Return the intensity to expect, ``(size, size)`` [full scale].

        Parameters
        ----------
        labels : numpy.ndarray
            Class of each pixel, ``(size, size)``.
        contrast : float
            How deep the needles are [full scale].
        """
        frame = self.brightness.astype(np.float32)
        for label in np.intersect1d(labels, STRIPED):
            inside = (labels == label).astype(np.float32)
            weight = gaussian_filter(inside, SOFTNESS * self._scale)
            frame = frame - contrast * weight * self.stripes(label)
        return np.where(labels == VOID, np.float32(VOID_BRIGHTNESS), frame)

    # ---- fields

    @property
    def _scale(self) -> float:
        return self.extent / REFERENCE_EXTENT

    def field(self, name: str, length: float) -> np.ndarray:
        """Return a smooth random field, ``(size, size)``, of mean 0 and variance 1 in the specimen.

        Parameters
        ----------
        name : str
            Fields of different names are independent.
        length : float
            Of the Gaussian that it is smoothed with, in a specimen of `REFERENCE_EXTENT`.
        """
        draws = generator(self.seed, "domain_ae", f"specimen {self.number}", name)
        n = -(-REFERENCE_EXTENT * FINENESS // int(length))
        width = length * n / REFERENCE_EXTENT
        field = gaussian_filter(draws.standard_normal((n, n)), width, mode="wrap")
        field = (field - field.mean()) / field.std()
        smooth = zoom(field, self.extent / n, order=3, mode="grid-wrap", grid_mode=True)
        return smooth[: self.size, : self.size]


def needles(phase: np.ndarray) -> np.ndarray:
    """Return dark narrow lines: peak to peak 0.95, of mean 0, whose fundamental is 0.5 high."""
    return _logistic(phase) - NEEDLE_MEAN


def _logistic(phase: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-6 * (np.cos(phase) - 0.5)))


NEEDLE_MEAN = float(_logistic(2 * np.pi * np.arange(4096) / 4096).mean())
