"""Images as growers have them, turned into intensity in [0, 1], or refused in one sentence.

An intensity is never guessed: integers are divided by the full range of their type, colours are
turned back into intensity only if every part of the image agrees with one colour map or one hue,
and what was done is said in a notice.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import PurePath
from typing import TYPE_CHECKING

import numpy as np

from repro.datasets.npz import UNREADABLE
from repro.errors import ReproError
from repro.studies.rheed_translator.page.colours import intensity_of_colours

if TYPE_CHECKING:
    from PIL.Image import Image
    from tifffile import TiffPage

KINDS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".npy": "NPY",
}
SIGNATURES = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"II*\x00": "TIFF",
    b"MM\x00*": "TIFF",
    b"II+\x00": "TIFF",  # of more than 4 GB, or so made that it may be
    b"MM\x00+": "TIFF",
    b"\x93NUMPY": "NPY",
}
SMALLEST = 32  # [pixel], the shorter side
LARGEST = 20_000_000  # [pixel], the whole image: five times what a RHEED camera has
NPY_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
GREY_MODES = {"L": np.uint8, "I;16": np.uint16, "I;16L": np.uint16, "I;16B": np.uint16}
COLOUR_MODES = ("RGB", "RGBA", "LA", "P", "PA")
MOSTLY_BRIGHT = 0.5  # median intensity that no RHEED pattern on a dark screen has
BITS_PER_SAMPLE, PHOTOMETRIC = 258, 262  # the numbers of TIFF tags
WHITE_IS_ZERO = 0  # of PHOTOMETRIC
TURNED_OVER = "Turned over, since the file says that its zeros are white."
BRIGHTEST_FRACTION, DARKEST_BYTES = 1 + 1e-6, 2  # between these a float image has no known scale


@dataclass(frozen=True)
class Upload:
    """An image as the translator takes it.

    Parameters
    ----------
    image : numpy.ndarray
        Intensity in [0, 1], ``(height, width)`` float32.
    notices : tuple of str
        What was done to the file's numbers, a sentence each.
    is_linear : bool
        Whether the numbers are taken for proportional to the intensity: those of more than 8 bits
        come from a camera, while a picture of 8 bits or in colours may have been made for the eye.
    """

    image: np.ndarray
    notices: tuple[str, ...]
    is_linear: bool


def read_upload(name: str, content: bytes) -> Upload:
    """Read an image file: png, jpg, tif or npy.

    Parameters
    ----------
    name : str
        The file's name; its suffix has to agree with the content.
    content : bytes
        The file's content.

    Raises
    ------
    ReproError
        If the file is no image of these kinds, is damaged, or its numbers are no intensity.
    """
    kind = _kind(name, content)
    if kind == "NPY":
        return upload_of(name, _npy_array(name, content, _image_shape))
    with _opened(name, content, kind) as picture:
        if picture is not None:
            _refuse_several(name, _n_pages(picture))
            return upload_of(name, *_decoded(name, picture))
        images = _other_tiff(name, content)
        _refuse_several(name, len(images))
        return upload_of(name, *images[0])


def read_stack(name: str, content: bytes) -> list[tuple[str, Callable[[], Upload]]]:
    """Open a file of one image or of many: png, jpg, tif, or npy of ``(n, height, width)``.

    Parameters
    ----------
    name, content
        As `read_upload` takes them.

    Returns
    -------
    list of tuple
        The name of every image, and what to call to read it, which may refuse it as `read_upload`
        does.

    Raises
    ------
    ReproError
        If the file is no image or stack of these kinds, or is damaged.
    """
    kind = _kind(name, content)
    if kind == "NPY":
        images = [(image, ()) for image in _npy_array(name, content, _stack_shape)]
    else:
        with _opened(name, content, kind) as picture:
            if picture is not None:
                images = [_decoded(name, page) for page in _pages(picture)]
            else:
                images = _other_tiff(name, content)
    names = [name] if len(images) == 1 else names_of_images(name, len(images))
    return [
        (each, partial(upload_of, each, *image)) for each, image in zip(names, images, strict=True)
    ]


def names_of_images(name: str, n_images: int) -> list[str]:
    """Return what the images of a file are called; they count from 1."""
    return [f"{name} image {number}" for number in range(1, n_images + 1)]


def upload_of(name: str, values: np.ndarray, notices: tuple[str, ...] = ()) -> Upload:
    """Return an image as the translator takes it.

    Parameters
    ----------
    name : str
        What to call it in messages.
    values : numpy.ndarray
        Its numbers as they were stored, ``(height, width)``, or ``(height, width, 3 or 4)`` if
        they are colours.
    notices : tuple of str
        What was done to them already.

    Raises
    ------
    ReproError
        If they are no intensity.
    """
    is_linear = values.ndim == 2 and values.dtype.itemsize > 1
    values, more = _scaled(name, values)
    notices += more
    if values.ndim == 3:
        values, notice = intensity_of_colours(name, values)
        notices += (notice,)
    if values.min() == values.max():
        raise ReproError(f"{name} has the same value everywhere; there is no pattern in it.")
    if np.median(values) > MOSTLY_BRIGHT:
        notices += ("Most of the image is bright; if dark stands for intense in it, invert it.",)
    return Upload(np.ascontiguousarray(values, np.float32), notices, is_linear)


def region(upload: Upload, columns: tuple[int, int], rows: tuple[int, int]) -> Upload:
    """Return a part of an image.

    Parameters
    ----------
    upload : Upload
        The image.
    columns, rows : tuple of int
        First and last of each that are used [per cent of the width, of the height].

    Raises
    ------
    ReproError
        If less than `SMALLEST` pixels of a side are left.
    """
    kept = []
    for (first, last), n in zip((rows, columns), upload.image.shape, strict=True):
        kept.append(slice(round(first * n / 100), round(last * n / 100)))
    part = upload.image[tuple(kept)]
    if min(part.shape) < SMALLEST:
        height, width = part.shape
        raise ReproError(
            f"The part has {height} × {width} pixels; at least {SMALLEST} × {SMALLEST} are needed."
        )
    return replace(upload, image=part)


def _kind(name: str, content: bytes) -> str:
    """Return what a file is, by its first bytes; its suffix must say the same."""
    suffix = PurePath(name).suffix.lower()
    if suffix not in KINDS:
        raise ReproError(f"{name}: only png, jpg, tif and npy files can be read; save it as one.")
    if not content:
        raise ReproError(f"{name} is empty (0 bytes); save it again.")
    found = next((kind for start, kind in SIGNATURES.items() if content.startswith(start)), None)
    if found is None:
        raise ReproError(f"{name} is damaged or no {KINDS[suffix]} file; save it again.")
    if found != KINDS[suffix]:
        raise ReproError(
            f"{name} holds a {found} file, not {KINDS[suffix]}; give it the suffix of its content."
        )
    return found


def _npy_array(
    name: str, content: bytes, allowed: Callable[[str, tuple[int, ...]], tuple[int, ...]]
) -> np.ndarray:
    """Return an npy file's array; its header is checked before its numbers are touched.

    `allowed` takes the name and the shape that the header states, and returns that wanted.
    """
    file = io.BytesIO(content)
    try:
        read_header = NPY_HEADERS[np.lib.format.read_magic(file)]
        shape, fortran_order, dtype = read_header(file)
    except UNREADABLE as error:
        raise ReproError(f"{name}: its npy header is damaged; save it again.") from error
    if dtype.hasobject:
        raise ReproError(
            f"{name} holds Python objects, which are not loaded, as they could run code; "
            "save the plain array of numbers."
        )
    shape = allowed(name, shape)
    n_values = int(np.prod(shape))
    if len(content) - file.tell() != n_values * dtype.itemsize:
        raise ReproError(f"{name}: its length does not agree with its header; save it again.")
    values = np.frombuffer(content, dtype, offset=file.tell())
    return values.reshape(shape, order="F" if fortran_order else "C")


def _image_shape(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return an array's shape without axes of length one, if it is that of a single image."""
    image = tuple(length for length in shape if length != 1)
    if not _is_image(image):
        raise ReproError(
            f"{name} holds an array of shape {shape}; save one image of shape (height, width)."
        )
    _check_size(name, *image[:2])
    return image


def _stack_shape(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return an array's shape with the images first, if it is that of images."""
    long = tuple(length for length in shape if length != 1)
    stack = (1, *long) if _is_image(long) else long
    if not (_is_image(stack[1:]) and stack[0]):
        raise ReproError(
            f"{name} holds an array of shape {shape}; save images of shape (n, height, width)."
        )
    _check_size(name, *stack[1:3])
    return stack


def _is_image(shape: tuple[int, ...]) -> bool:
    return len(shape) == 2 or (len(shape) == 3 and shape[2] in (3, 4))


@contextmanager
def _opened(name: str, content: bytes, kind: str) -> Iterator[Image | None]:
    """Open a png, jpg or tif file; whatever is found wrong with it is said in a sentence.

    None is a TIFF that Pillow does not know.
    """
    from PIL import Image, UnidentifiedImageError

    file = io.BytesIO(content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # of Pillow, on odd metadata and sizes; both judged here
            try:
                picture = Image.open(file, formats=[kind])
            except UnidentifiedImageError:
                if kind != "TIFF":
                    raise
                yield None
                return
            with picture:
                yield picture
    except ReproError:
        raise
    except Image.DecompressionBombError as error:
        raise ReproError(_too_large(name)) from error
    except Exception as error:  # a decoder raises whatever it stumbles on
        raise ReproError(f"{name} is a damaged or unusual {kind} file; save it again.") from error


def _other_tiff(name: str, content: bytes) -> list[tuple[np.ndarray, tuple[str, ...]]]:
    """Return the images of a grey TIFF that Pillow does not know, and what was done to them.

    Such are fractions of 16 and 64 bits, and some integers with the high byte first.
    """
    import tifffile

    with tifffile.TiffFile(io.BytesIO(content)) as tiff:
        pages = [_page(name, page) for page in tiff.pages]
    if not pages:
        raise ReproError(f"{name} is a damaged or unusual TIFF file; save it again.")
    return pages


def _page(name: str, page: TiffPage) -> tuple[np.ndarray, tuple[str, ...]]:
    dtype, is_grey = page.dtype, len(page.shape) == 2
    is_whole = dtype is not None and page.bitspersample == 8 * dtype.itemsize
    if not (is_grey and is_whole and (dtype.kind == "f" or dtype in (np.uint8, np.uint16))):
        numbers = f"{page.bitspersample} bits ({dtype.name})" if dtype else "an unknown type"
        raise ReproError(
            f"{name} stores an array of shape {page.shape} of {numbers}; "
            "save it with 8- or 16-bit integers without sign."
        )
    _check_size(name, *page.shape)
    if dtype.kind == "f":
        _refuse_white_is_zero(name, page.photometric)
        return _unpacked(name, page), ()
    values, is_turned = _unpacked(name, page), page.photometric == WHITE_IS_ZERO
    return (~values, (TURNED_OVER,)) if is_turned else (values, ())


def _unpacked(name: str, page: TiffPage) -> np.ndarray:
    try:
        return page.asarray()
    except (ValueError, ImportError) as error:
        # So it says that a package for a rare compression is missing.
        if isinstance(error, ValueError) and "requires the" not in str(error):
            raise
        raise ReproError(
            f"{name} is compressed in a way that is not read here; save it without compression."
        ) from None


def _refuse_several(name: str, n_images: int) -> None:
    if n_images > 1:
        raise ReproError(
            f"{name} holds {n_images} images; save the one to be read as its own file."
        )


def _n_pages(picture: Image) -> int:
    if picture.format == "MPO":
        return (
            1  # a phone's photograph: what follows is made of it, for previews and bright screens
        )
    return getattr(picture, "n_frames", 1)  # not every kind of file can have several


def _pages(picture: Image) -> Iterator[Image]:
    for page in range(_n_pages(picture)):
        picture.seek(page)
        yield picture


def _decoded(name: str, picture: Image) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return an opened picture's numbers, upright, and what was done to them."""
    from PIL import ImageOps

    _check_size(name, picture.height, picture.width)
    depth = _bits(picture)
    upright = ImageOps.exif_transpose(picture)
    turned = picture.getexif().get(0x0112, 1) != 1
    notices = ("Turned upright as its camera noted.",) if turned else ()
    mode, photometric = upright.mode, _photometric(picture)
    if mode in GREY_MODES and depth in (8, 16):
        values = np.asarray(upright).astype(GREY_MODES[mode])
        if photometric == WHITE_IS_ZERO:
            notices += (TURNED_OVER,)
            values = values if depth == 8 else ~values  # Pillow turns those of 8 bits itself
        return values, notices
    if mode == "F":
        _refuse_white_is_zero(name, photometric)
        return np.asarray(upright), notices
    if mode in COLOUR_MODES:
        if depth == 16:
            notices += ("Of its 16 bits a channel the upper 8 are used.",)
        return np.asarray(upright.convert("RGBA")), notices
    raise ReproError(
        f"{name} stores pixels as {_mode_name(mode)}; "
        "save it with 8- or 16-bit integers without sign."
    )


def _photometric(picture: Image) -> int | None:
    return picture.tag_v2.get(PHOTOMETRIC) if picture.format == "TIFF" else None


def _refuse_white_is_zero(name: str, photometric: int | None) -> None:
    if photometric == WHITE_IS_ZERO:
        raise ReproError(
            f"{name} says that its zeros are white, which fractions without a full range leave "
            "open; save it with black as zero."
        )


def _mode_name(mode: str) -> str:
    names = {
        "1": "black or white",
        "I": "signed or 32-bit integers",
        "I;16": "12-bit integers",
        "CMYK": "printing inks",
    }
    return names.get(mode, mode)


def _bits(picture: Image) -> int:
    """Return the bits a channel of a png or tif; Pillow cuts colours to 8 and does not say."""
    if picture.format == "TIFF":
        return max(picture.tag_v2.get(BITS_PER_SAMPLE, (8,)))
    raw = picture.tile[0].args if picture.tile else ""
    return 16 if "16" in str(raw) else 8


def _scaled(name: str, values: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Bring numbers to [0, 1] by what their type says, and say how."""
    if values.dtype.kind == "u" and values.dtype.itemsize <= 2:
        full = np.iinfo(values.dtype).max
        notice = f"{8 * values.dtype.itemsize}-bit integers, divided by {full}."
        return values / np.float32(full), (notice,)
    if values.dtype.kind != "f":
        raise ReproError(
            f"{name} holds numbers of type {values.dtype.name}; "
            "save it as uint8, uint16, or float in 0 to 1."
        )
    return _scaled_floats(name, values)


def _scaled_floats(name: str, values: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    n_bad = int(np.count_nonzero(~np.isfinite(values)))
    if n_bad:
        raise ReproError(f"{name}: {n_bad} values are NaN or infinite; replace them and try again.")
    lowest, highest = float(values.min()), float(values.max())
    if lowest >= 0 and highest <= BRIGHTEST_FRACTION:
        return np.minimum(values, 1), ()
    if lowest >= 0 and DARKEST_BYTES <= highest <= 255:
        return values / 255, ("Fractional values up to 255, divided by 255.",)
    raise ReproError(
        f"{name} holds values from {lowest:.4g} to {highest:.4g}; "
        "divide them by the full range of the camera, so that they lie in 0 to 1."
    )


def _check_size(name: str, height: int, width: int) -> None:
    if min(height, width) < SMALLEST:
        raise ReproError(
            f"{name} has {height} × {width} pixels; at least {SMALLEST} × {SMALLEST} are needed."
        )
    if height * width > LARGEST:
        raise ReproError(_too_large(name))


def _too_large(name: str) -> str:
    return f"{name} has more than {LARGEST // 1_000_000} million pixels; save it smaller."
