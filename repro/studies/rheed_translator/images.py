"""What is measured on RHEED images of any size: where the (00) streak is, and how streaks compare.

Positions are fractions of the image's width or height, from its left and top edge; orders are
counted in spacings of the streaks from the (00) streak. The cues are ratios of intensities above
the local background, the left half of the pattern averaged with the right half, so that exposure,
background, a shift of the pattern and a mirrored image leave them alone.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d

from repro.imaging.geometry import resized, shifted
from repro.imaging.peaks import parabola_offset

# Shares of the height. The specular spot, a screen defect and its flare lie above the streaks.
PATTERN_BAND = (0.04, 0.48)
STREAK_BAND = (0.21, 0.48)
TAIL_BAND = (0.48, 0.62)

CUES = ("log A01/A00", "log A02/A00", "tail A01/A00", "log width of (00)")
FLOORS = (0.05, 0.1, 0.2)  # added to ratios before the logarithm, which is averaged over them
HIGHEST_RATIO = 10.0  # of an order to (00); more is not a pattern of streaks

SMOOTHING = 0.01  # standard deviation of the filter that finds (00), share of the width
SPACINGS = np.linspace(0.10, 0.22, 121)  # in which the spacing is looked for, shares of the width
ORDERS = (np.arange(125) + 0.5) / 50  # where folded profiles are sampled [spacings]
HALF_ORDERS = np.array([0.5, 1.5, 2.5])
STREAK_REACH, BACKGROUND_REACH = 0.25, 0.08  # half widths of what counts for each [spacings]
OUTSIDE = 1e-6  # weight of a half that the image does not show
DARKEST = 0.01  # of the film's brightest pixel, below which the logarithm sees no difference


def lateral_profile(images: np.ndarray, band: tuple[float, float]) -> np.ndarray:
    """Return the intensity along the width, averaged over a band of rows, ``(n, width)``.

    Parameters
    ----------
    images : numpy.ndarray
        ``(n, height, width)`` [any unit].
    band : tuple of float
        First and last row [shares of the height].
    """
    height = images.shape[1]
    first = min(int(band[0] * height), height - 1)
    last = max(int(band[1] * height), first + 1)
    return images[:, first:last].mean(axis=1, dtype=np.float64)


def streak_centre(images: np.ndarray) -> np.ndarray:
    """Return where the (00) streak is, ``(n,)`` [share of the width].

    It is the brightest column of the smoothed lateral profile, refined by a parabola.

    Parameters
    ----------
    images : numpy.ndarray
        ``(n, height, width)`` [any unit].
    """
    width = images.shape[2]
    profile = lateral_profile(images, PATTERN_BAND)
    profile = gaussian_filter1d(profile, max(SMOOTHING * width, 0.5), axis=1)
    top = np.clip(profile.argmax(axis=1), 1, width - 2)
    film = np.arange(len(images))
    left, middle, right = (profile[film, top + step] for step in (-1, 0, 1))
    curvature = np.minimum(left - 2 * middle + right, -np.finfo(float).tiny)
    return (top + 0.5 + parabola_offset(left - right, curvature)) / width


def aligned(images: np.ndarray, centre: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return images with the (00) streak in the middle, at another size.

    Parameters
    ----------
    images : numpy.ndarray
        ``(n, any height, any width)``.
    centre : numpy.ndarray
        Where the (00) streak is, ``(n,)`` [share of the width].
    height, width : int
        Wanted size [pixels].
    """
    return resized(shifted(images, centre - 0.5), height, width)


def log_intensity(images: np.ndarray) -> np.ndarray:
    """Return the logarithm of the intensity, scaled to 0 to 1 film by film.

    Parameters
    ----------
    images : numpy.ndarray
        ``(n, height, width)`` [any unit].
    """
    highest = images.max(axis=(1, 2), keepdims=True)
    values = np.log(np.maximum(images, DARKEST * highest) + np.finfo(np.float32).tiny)
    lowest = values.min(axis=(1, 2), keepdims=True)
    span = values.max(axis=(1, 2), keepdims=True) - lowest
    return (values - lowest) / np.maximum(span, np.finfo(np.float32).tiny)


def folded_profile(profile: np.ndarray, centre: np.ndarray, spacing: float) -> np.ndarray:
    """Return the mean of both halves of a lateral profile at `ORDERS`, ``(n, n_orders)``.

    Where only one half is within the image, it stands alone.

    Parameters
    ----------
    profile : numpy.ndarray
        ``(n, width)`` [any unit].
    centre : numpy.ndarray
        Where the (00) streak is, ``(n,)`` [share of the width].
    spacing : float
        Distance of neighbouring streaks [share of the width].
    """
    width = profile.shape[1]
    total, count = 0.0, 0.0
    for side in (-1, 1):
        at = (centre[:, None] + side * spacing * ORDERS) * width - 0.5
        inside = np.where((at >= -0.5) & (at <= width - 0.5), 1.0, OUTSIDE)
        values = [np.interp(a, np.arange(width), p) for a, p in zip(at, profile, strict=True)]
        total, count = total + inside * np.stack(values), count + inside
    return total / count


def above_background(profile: np.ndarray) -> np.ndarray:
    """Return folded profiles less the line through their values at the half orders.

    Parameters
    ----------
    profile : numpy.ndarray
        ``(n, n_orders)`` at `ORDERS`.
    """
    between = np.stack([_mean_at(profile, order, BACKGROUND_REACH) for order in HALF_ORDERS], 1)
    return profile - np.stack([np.interp(ORDERS, HALF_ORDERS, values) for values in between])


def order_ratios(streaks: np.ndarray) -> np.ndarray:
    """Return the intensities of the first and second order over that of (00), ``(n, 2)``.

    Parameters
    ----------
    streaks : numpy.ndarray
        ``(n, n_orders)``, folded profiles above background at `ORDERS`.
    """
    areas = np.stack([_mean_at(streaks, order, STREAK_REACH) for order in range(3)], axis=1)
    of_00 = np.maximum(areas[:, :1], np.finfo(float).tiny)
    return np.clip(areas[:, 1:] / of_00, 0, HIGHEST_RATIO)


def streak_width(streaks: np.ndarray) -> np.ndarray:
    """Return the full width at half maximum of the (00) streak, ``(n,)`` [spacings].

    Parameters
    ----------
    streaks : numpy.ndarray
        ``(n, n_orders)``, folded profiles above background at `ORDERS`.
    """
    half = streaks[:, :1] / 2
    first = np.maximum((streaks < half).argmax(axis=1), 1)
    film = np.arange(len(streaks))
    above, below = streaks[film, first - 1], streaks[film, first]
    drop = np.maximum(above - below, np.finfo(float).tiny)
    part = np.clip((above - half[:, 0]) / drop, 0, 1)
    half_width = ORDERS[first - 1] + part * (ORDERS[first] - ORDERS[first - 1])
    return 2 * np.maximum(half_width, ORDERS[1])


def streak_spacing(images: np.ndarray, centre: np.ndarray) -> float:
    """Return the distance of neighbouring streaks that films have in common [share of the width].

    The one at which the first two orders stand out most above the half orders, on the median of
    the films.

    Parameters
    ----------
    images : numpy.ndarray
        ``(n, height, width)`` [any unit].
    centre : numpy.ndarray
        Where the (00) streak is, ``(n,)`` [share of the width].
    """
    profile = lateral_profile(images, STREAK_BAND)
    contrast = [_contrast(folded_profile(profile, centre, spacing)) for spacing in SPACINGS]
    return float(SPACINGS[np.argmax(contrast)])


def streak_cues(images: np.ndarray, centre: np.ndarray, spacing: float) -> np.ndarray:
    """Return the cues, ``(n, n_cues)``, in the order of `CUES`.

    The ratios of the streaks fall to zero in Sr-rich films and are taken as logarithms above a
    floor; that of the tails below the streaks does not. The width is in spacings.

    Parameters
    ----------
    images : numpy.ndarray
        ``(n, height, width)`` [any unit].
    centre : numpy.ndarray
        Where the (00) streak is, ``(n,)`` [share of the width].
    spacing : float
        Distance of neighbouring streaks [share of the width].
    """
    streaks, tails = (
        above_background(folded_profile(lateral_profile(images, band), centre, spacing))
        for band in (STREAK_BAND, TAIL_BAND)
    )
    ratios = order_ratios(streaks)
    logarithms = np.mean([np.log(ratios + floor) for floor in FLOORS], axis=0)
    return np.column_stack([logarithms, order_ratios(tails)[:, 0], np.log(streak_width(streaks))])


def _contrast(profile: np.ndarray) -> float:
    streaks = above_background(profile)
    of_00 = np.maximum(streaks[:, :1], np.finfo(float).tiny)
    heights = (_mean_at(streaks / of_00, order, BACKGROUND_REACH) for order in (1, 2))
    return float(sum(np.median(height) for height in heights))


def _mean_at(profile: np.ndarray, order: float, reach: float) -> np.ndarray:
    """Return the mean of profiles at `ORDERS` around an order, ``(n,)``."""
    return profile[:, np.abs(ORDERS - order) <= reach + 1e-9].mean(axis=1)
