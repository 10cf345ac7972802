"""Colours turned back into intensity: grey, a known colour map, or the one hue of a screen.

A guess has to explain the colours as a whole, by the share of their squared distance to grey, and
nearly every pixel by itself, as the bright spots that matter are few.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from repro.errors import ReproError

MAPS = ("viridis", "cividis", "plasma", "inferno", "magma", "turbo", "jet", "hot")
GREY_SPREAD = 4 / 255  # what JPEG adds between the channels of a grey image
MOST_GREY = 0.999  # share of the pixels that must be within it
EXPLAINED = 0.97
NEARLY_ALL = 0.99  # share of the pixels that a guess must explain one by one
FARTHEST = 0.15  # from a pixel to a map's nearest colour, in units of a channel's range
COLOURED = 0.08  # distance to grey from which a pixel has a hue to speak of
OPENING = np.cos(np.radians(25))  # what still is one hue
DARK_PLACE = 0.2  # a photograph of a screen has dark places; maps from white to a colour have none
BRIGHT_ENOUGH = 0.5  # dark ends are alike in many maps; a mostly bright image has its map reversed
N_LOOKED_AT = 50_000  # pixels that decide between the guesses
CHANNELS = ("red", "green", "blue")


def intensity_of_colours(name: str, colours: np.ndarray) -> tuple[np.ndarray, str]:
    """Return the intensity that colours stand for, and a sentence on how it was found.

    Parameters
    ----------
    name : str
        What the image is called, for messages.
    colours : numpy.ndarray
        Red, green, blue and perhaps opacity, each in [0, 1], ``(height, width, 3 or 4)``.

    Returns
    -------
    intensity : numpy.ndarray
        In [0, 1], ``(height, width)``.
    notice : str
        How it was found.

    Raises
    ------
    ReproError
        If parts of the image are transparent, or no single grey, map or hue explains the colours.
    """
    if colours.shape[2] == 4:
        _check_opaque(name, colours[..., 3])
        colours = colours[..., :3]
    if _is_grey(colours):
        return colours.mean(axis=2), "Grey stored as colours; the mean of the channels is used."
    seen = _some_pixels(colours)
    colour_map = _colour_map(seen)
    if colour_map is not None:
        return (
            _inverted(colours, colour_map),
            f"Colours of the map {colour_map}, turned back into intensity.",
        )
    channel = _single_hue(seen)
    if channel is not None:
        return (
            colours[..., channel],
            f"One hue, as of a phosphor screen; the {CHANNELS[channel]} channel is used.",
        )
    raise ReproError(
        f"{name} has colours that are neither grey, one hue, nor one of the colour maps "
        f"{', '.join(MAPS)} without frame or labels; save the camera's own grey image."
    )


def _check_opaque(name: str, opacity: np.ndarray) -> None:
    if opacity.min() < 1:
        raise ReproError(f"{name} is transparent in places; save it without transparency.")


def _is_grey(colours: np.ndarray) -> bool:
    spread = colours.max(axis=2) - colours.min(axis=2)
    return float(np.mean(spread <= GREY_SPREAD)) >= MOST_GREY


def _some_pixels(colours: np.ndarray) -> np.ndarray:
    """Return pixels from all over the image, ``(n, 3)``."""
    pixels = colours.reshape(-1, 3)
    return pixels[:: max(1, len(pixels) // N_LOOKED_AT)].astype(np.float64)


def _from_grey(pixels: np.ndarray) -> np.ndarray:
    """Return what sets pixels apart from grey of the same mean, ``(n, 3)``."""
    return pixels - pixels.mean(axis=1, keepdims=True)


def _colour_map(pixels: np.ndarray) -> str | None:
    """Return the colour map that explains the pixels, or none."""
    scores = {name: _explained_by_map(pixels, name) for name in MAPS}
    best = max(scores, key=scores.__getitem__)
    return best if scores[best] >= EXPLAINED else None


def _explained_by_map(pixels: np.ndarray, name: str) -> float:
    """Return the share of the colourfulness that a map explains, 0 if pixels disagree with it."""
    distance, step = cKDTree(_colours_of(name)).query(pixels)
    is_upright = np.median(step) / 255 < BRIGHT_ENOUGH < step.max() / 255
    if not is_upright or np.quantile(distance, NEARLY_ALL) > FARTHEST:
        return 0.0
    return 1 - np.sum(distance**2) / np.sum(_from_grey(pixels) ** 2)


def _inverted(colours: np.ndarray, name: str) -> np.ndarray:
    """Return the place of each pixel's colour in a map, in [0, 1]."""
    codes = np.rint(colours * 255).astype(np.int64) @ (1 << 16, 1 << 8, 1)
    different, place = np.unique(codes, return_inverse=True)
    channels = np.stack([different >> 16, different >> 8 & 255, different & 255], axis=1)
    _, step = cKDTree(_colours_of(name)).query(channels / 255)
    return ((step + 0.5) / 256)[place].reshape(colours.shape[:2])


def _colours_of(name: str) -> np.ndarray:
    """Return the 256 colours of a map, ``(256, 3)``."""
    from matplotlib import colormaps

    return colormaps[name](np.arange(256))[:, :3]


def _single_hue(pixels: np.ndarray) -> int | None:
    """Return the strongest channel if the pixels have a single hue and dark places, or none."""
    colour = _from_grey(pixels)
    distance = np.linalg.norm(colour, axis=1)
    hue = colour.sum(axis=0) / max(np.linalg.norm(colour.sum(axis=0)), 1e-12)
    explained = np.sum((colour @ hue).clip(min=0) ** 2) / np.sum(distance**2)
    has_hue = distance > COLOURED
    agree = np.mean(colour[has_hue] @ hue >= OPENING * distance[has_hue]) if has_hue.any() else 1
    channel = int(np.argmax(hue))
    is_dark = np.quantile(pixels[:, channel], 1 - NEARLY_ALL) <= DARK_PLACE
    return channel if explained >= EXPLAINED and agree >= NEARLY_ALL and is_dark else None
