"""What is measured on RHEED images of any size: where streaks are, how far apart, how intense.

Positions are fractions of the image's width or height, from its left and top edge; orders are
counted in spacings of the streaks from the (00) streak. What is read are ratios of intensities
above the local background, the left half of the pattern averaged with the right half, so that
exposure, background, a shift of the pattern and a mirrored image leave them alone. The spacing is
measured in each image, so that another magnification does not alter them either.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d

from repro.imaging.geometry import resized, shifted
from repro.imaging.peaks import parabola_offset

# Shares of the height. The specular spot, a screen defect and its flare lie above the streaks.
PATTERN_BAND = (0.04, 0.48)
STREAK_BAND = (0.21, 0.48)

HIGHEST_RATIO = 10.0  # of an order to (00); more is not a pattern of streaks

SMOOTHING = 0.01  # standard deviation of the filter that finds (00), share of the width
SPACINGS = np.linspace(0.10, 0.22, 121)  # in which the spacing is looked for, shares of the width
LEAST_CONTRAST = 0.1  # of the first two orders, together, over (00): less are no streaks
# Of the typical spacing: measured spacings of films before one camera differ by up to 0.036; one
# that is farther off is of another magnification.
SAME_CAMERA = 0.04
ORDERS = (np.arange(125) + 0.5) / 50  # where folded profiles are sampled [spacings]
HALF_ORDERS = np.array([0.5, 1.5, 2.5])
STREAK_REACH, BACKGROUND_REACH = 0.25, 0.08  # half widths of what counts for each [spacings]
OUTSIDE = 1e-6  # weight of a half that the image does not show
DARKEST = 0.01  # of the brightest, below which the logarithm sees no difference


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


def folded_profile(profile: np.ndarray, centre: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Return the mean of both halves of a lateral profile at `ORDERS`, ``(n, n_orders)``.

    Where only one half is within the image, it stands alone.

    Parameters
    ----------
    profile : numpy.ndarray
        ``(n, width)`` [any unit].
    centre : numpy.ndarray
        Where the (00) streak is, ``(n,)`` [share of the width].
    spacing : numpy.ndarray
        Distance of neighbouring streaks, ``(n,)`` [share of the width].
    """
    width = profile.shape[1]
    total, count = 0.0, 0.0
    for side in (-1, 1):
        at = (centre[:, None] + side * spacing[:, None] * ORDERS) * width - 0.5
        inside = np.where((at >= -0.5) & (at <= width - 0.5), 1.0, OUTSIDE)
        total, count = total + inside * _interpolated(profile, at), count + inside
    return total / count


def above_background(profile: np.ndarray) -> np.ndarray:
    """Return folded profiles less the line through their values at the half orders.

    Parameters
    ----------
    profile : numpy.ndarray
        ``(n, n_orders)`` at `ORDERS`.
    """
    between = np.stack([_mean_at(profile, order, BACKGROUND_REACH) for order in HALF_ORDERS], 1)
    at = np.broadcast_to(ORDERS - HALF_ORDERS[0], profile.shape)
    return profile - _interpolated(between, at)


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


def streak_spacings(images: np.ndarray, centre: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distance of neighbouring streaks in each image, and how clearly they stand out.

    The distance is the one at which the first two orders stand out most above the half orders.

    Parameters
    ----------
    images : numpy.ndarray
        ``(n, height, width)`` [any unit].
    centre : numpy.ndarray
        Where the (00) streak is, ``(n,)`` [share of the width].

    Returns
    -------
    spacings : numpy.ndarray
        ``(n,)`` [share of the width].
    contrasts : numpy.ndarray
        Heights of the first two orders together over that of (00), ``(n,)``.
    """
    profile = lateral_profile(images, STREAK_BAND)
    every = np.tile(SPACINGS, len(images))
    profile, centre = (np.repeat(values, len(SPACINGS), axis=0) for values in (profile, centre))
    contrast = _contrast(profile, centre, every).reshape(len(images), -1)
    return SPACINGS[contrast.argmax(axis=1)], contrast.max(axis=1)


def typical_spacing(spacings: np.ndarray, contrasts: np.ndarray) -> float:
    """Return the median spacing of the images that show streaks [share of the width].

    Parameters
    ----------
    spacings, contrasts : numpy.ndarray
        ``(n,)``, as `streak_spacings` returns them.
    """
    shown = contrasts >= LEAST_CONTRAST
    return float(np.median(spacings[shown] if shown.any() else spacings))


def spacings_beside(typical: float, images: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Return the spacing to read each image at, ``(n,)`` [share of the width].

    The typical one, but for images of another magnification, which have their own.

    Parameters
    ----------
    typical : float
        That of films before the same camera [share of the width].
    images : numpy.ndarray
        ``(n, height, width)`` [any unit].
    centre : numpy.ndarray
        Where the (00) streak is, ``(n,)`` [share of the width].
    """
    spacings, contrasts = streak_spacings(images, centre)
    is_another = np.abs(spacings - typical) > SAME_CAMERA * typical
    return np.where(is_another & (contrasts >= LEAST_CONTRAST), spacings, typical)


def streak_ratios(images: np.ndarray, centre: np.ndarray, spacings: np.ndarray) -> np.ndarray:
    """Return A01/A00 and A02/A00 of images, ``(n, 2)``.

    Parameters
    ----------
    images : numpy.ndarray
        ``(n, height, width)`` [any unit].
    centre, spacings : numpy.ndarray
        Where the (00) streak is and how far apart streaks are, ``(n,)`` [share of the width].
    """
    profile = folded_profile(lateral_profile(images, STREAK_BAND), centre, spacings)
    return order_ratios(above_background(profile))


def _contrast(profile: np.ndarray, centre: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    streaks = above_background(folded_profile(profile, centre, spacing))
    of_00 = np.maximum(streaks[:, 0], np.finfo(float).tiny)
    return sum(_mean_at(streaks, order, BACKGROUND_REACH) for order in (1, 2)) / of_00


def _interpolated(profile: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Return profiles, ``(n, width)``, between their pixels, ``(n, n_places)`` [pixels]."""
    width = profile.shape[1]
    at = np.clip(at, 0, width - 1)
    left = np.minimum(at.astype(int), width - 2)
    low, high = (np.take_along_axis(profile, left + step, axis=1) for step in (0, 1))
    return low + (at - left) * (high - low)


def _mean_at(profile: np.ndarray, order: float, reach: float) -> np.ndarray:
    """Return the mean of profiles at `ORDERS` around an order, ``(n,)``."""
    return profile[:, np.abs(ORDERS - order) <= reach + 1e-9].mean(axis=1)
