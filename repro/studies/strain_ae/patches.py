"""Images sampled through affine maps only around some discs, where masks look.

What the masks cover is a twentieth of a pattern. A patch is a square of pixels of an image; it is
named by its first row and column.
"""

from __future__ import annotations

from keras import ops

from repro.layers.sampling import compose, inverse, sampled_at, sources

NEIGHBOURHOOD = 3  # pixels that interpolation and rounding of a patch's place reach beyond a disc


def half_side(radius: float) -> int:
    """Return the pixels on either side of the middle one of a patch that holds a disc."""
    return int(radius) + NEIGHBOURHOOD


def centres(masks):
    """Return the middle of each mask, ``(1, n_masks, 2)``: row and column [pixels].

    Parameters
    ----------
    masks : tensor
        ``(n_masks, size, size)`` of 0 and 1.
    """
    size = masks.shape[-1]
    at = ops.arange(size, dtype=masks.dtype)
    total = ops.sum(masks, axis=(1, 2))
    rows = ops.sum(masks * at[:, None], axis=(1, 2)) / total
    columns = ops.sum(masks * at, axis=(1, 2)) / total
    return ops.stack([rows, columns], axis=-1)[None]


def led_to(places, maps, size: int):
    """Return where maps, one after the other, take places of an image, ``(n, n_places, 2)``.

    Parameters
    ----------
    places : tensor
        Row and column of each [pixels], ``(1, n_places, 2)``.
    maps : list of tensor
        ``(n, 2, 3)`` each, as `through` takes them.
    size : int
        Pixels along each side of the image.
    """
    together = maps[0]
    for matrices in maps[1:]:
        together = compose(together, matrices)
    x, y = sources(inverse(together), places[..., 0], places[..., 1], size)
    return ops.stack([y, x], axis=-1)


def firsts(middles, half: int):
    """Return the first row and column of patches about places, int32 of the same shape."""
    return ops.stop_gradient(ops.cast(ops.round(middles), "int32")) - half


def pixels(first, half: int):
    """Return rows and columns of the pixels of patches.

    Parameters
    ----------
    first : tensor
        First row and column of each patch, int32 ``(n, n_patches, 2)``.
    half : int
        Pixels on either side of the middle one.

    Returns
    -------
    tuple of tensor
        int32 ``(n, n_patches, side, 1)`` and ``(n, n_patches, 1, side)``.
    """
    steps = ops.arange(2 * half + 1, dtype="int32")
    return first[..., 0, None, None] + steps[:, None], first[..., 1, None, None] + steps


def inside(first, half: int, size: int):
    """Return which pixels of patches an image has, bool ``(n, n_patches, side, side)``."""
    rows, columns = pixels(first, half)
    return ((rows >= 0) & (rows < size)) & ((columns >= 0) & (columns < size))


def cut(images, first, half: int):
    """Return patches of images, ``(n, n_patches, side, side)``; edges are repeated beyond.

    Parameters
    ----------
    images : tensor
        ``(n or 1, size, size, 1)``.
    first, half
        As `pixels` takes them; ``(1, n_patches, 2)`` are the same patches of every image.
    """
    size = images.shape[1]
    rows, columns = (ops.clip(at, 0, size - 1) for at in pixels(first, half))
    image = ops.arange(ops.shape(images)[0], dtype="int32")[:, None, None, None] * size**2
    return ops.take(ops.reshape(images, (-1,)), image + rows * size + columns)


def through(images, maps, first, half: int, interpolation: str, radius: float):
    """Return patches of images that are resampled through one map after the other.

    As `repro.layers.sampling.AffineSampler` once a map, whose images are cut afterwards; true up to
    `NEIGHBOURHOOD` pixels beyond the discs that the patches hold.

    Parameters
    ----------
    images : tensor
        ``(n or 1, size, size, 1)``.
    maps : list of tensor
        ``(n, 2, 3)`` each.
    first, half
        The patches that are wanted, as `pixels` takes them.
    interpolation : str
        ``"bilinear"`` or ``"bicubic"``.
    radius : float
        Of the discs where they come from [pixels].

    Returns
    -------
    tensor
        ``(n, n_patches, side, side)`` float32.
    """
    size = images.shape[1]
    *earlier, last = maps
    rows, columns = (ops.cast(at, "float32") for at in pixels(first, half))
    x, y = sources(last, rows, columns, size)
    n_patches, side = x.shape[1], 2 * half + 1
    if not earlier:
        at = (ops.reshape(a, (-1, n_patches * side, side)) for a in (x, y))
        return ops.reshape(sampled_at(images, *at, interpolation), (-1, n_patches, side, side))
    wide = half_side(radius) + NEIGHBOURHOOD
    before = firsts(ops.stack([y[..., half, half], x[..., half, half]], axis=-1), wide)
    values = through(images, earlier, before, wide, interpolation, radius)
    values = values * ops.cast(inside(before, wide, size), "float32")
    row, column = (ops.cast(before[..., i, None, None], "float32") for i in range(2))
    at = (ops.reshape(a, (-1, side, side)) for a in (x - column, y - row))
    values = ops.reshape(values, (-1, 2 * wide + 1, 2 * wide + 1, 1))
    return ops.reshape(sampled_at(values, *at, interpolation), (-1, n_patches, side, side))
