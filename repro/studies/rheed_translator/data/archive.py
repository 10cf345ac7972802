"""The real films: reading an archive of the published form, and fetching the published one.

The published form is an ``.npz`` of ``images`` (n, height, width) and ``stoich`` (n,), the Sr
content of each film in percent of the cations. Further entries are ignored.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from repro.datasets import downloads
from repro.datasets.npz import UNREADABLE, read_npz
from repro.errors import ReproError
from repro.files import cache_folder
from repro.imaging.geometry import resized
from repro.study import Archive

URL = (
    "https://raw.githubusercontent.com/hasanjawad001/rheed-universal-translator/"
    "HEAD/inputs/rheed_stoich_data.npz"
)
FULL_SCALES = (1, 255, 4095, 65535)  # fractions, and cameras of 8, 12 and 16 bits
ROUNDING = 1e-3  # a fraction may pass 0 or 1 by so much, after resizing with a spline, say
LEAST_COUNT = 1 / 16  # of full scale: counts that stay below are no counts of so many bits


@dataclass(frozen=True)
class ArchivedFilms:
    """Films with their patterns.

    Parameters
    ----------
    images : numpy.ndarray
        ``(n, height, width)`` float32, fraction of full scale in [0, 1].
    stoichiometry : numpy.ndarray
        ``(n,)`` float64, Sr content [at.%].
    sha256 : str
        Of the archive they come from, in hexadecimal digits.
    """

    images: np.ndarray
    stoichiometry: np.ndarray
    sha256: str

    def __len__(self):
        return len(self.stoichiometry)


def read_archive(path: str | Path) -> ArchivedFilms:
    """Read an archive of the published form, of any image size and number type.

    Images are taken as fractions where no pixel of the archive is above 1; else all are divided by
    255, 4095 or 65535, the first that no pixel passes. Images are not scaled one by one.

    Parameters
    ----------
    path : pathlib.Path
        The ``.npz``.

    Raises
    ------
    ReproError
        If there is no such file, it is no whole archive of numbers in the published form, or its
        images or Sr contents cannot be right: says which.
    """
    return _parse(_content(Path(path)), str(path))


def read_images(path: Path) -> np.ndarray:
    """Read the images of an archive of the published form, whose Sr contents may be missing.

    Returns
    -------
    numpy.ndarray
        ``(n, height, width)`` float32, fraction of full scale in [0, 1]; as `read_archive`.

    Raises
    ------
    ReproError
        As `read_archive`, of the images.
    """
    source = str(path)
    (images,) = _entries(_content(path), source, ("images",))
    return _fractions(_as_films(images, source), source)


def arrays(archive: ArchivedFilms, parameters: dict) -> dict[str, np.ndarray]:
    """Return films as the variables of the data spec, resized to its ``height`` and ``width``."""
    return {
        "images": resized(archive.images, parameters["height"], parameters["width"]),
        "stoichiometry": archive.stoichiometry,
    }


def films(start: int, stop: int, seed: int, parameters: dict) -> dict[str, np.ndarray]:
    """Return films ``start`` to ``stop`` of the published archive, fetched if it is not here yet.

    Parameters
    ----------
    start, stop : int
        First film, and the one after the last.
    seed : int
        Not used: nothing is drawn.
    parameters : dict
        ``height``, ``width`` [pixels], and ``sha256`` of the archive that is meant or ``""``.

    Raises
    ------
    ReproError
        If another archive is meant than the published one, or it has fewer films.
    NotPossibleHere
        If it is not here and cannot be fetched.
    """
    published = read_archive(fetch(cached_path()))
    if parameters["sha256"] not in ("", published.sha256):
        raise ReproError(
            "This data set was made of another archive than the published one: give that archive "
            "with --data FILE."
        )
    if stop > len(published):
        raise ReproError(
            f"The published archive has {len(published)} films, not {stop}: ask for fewer."
        )
    rows = ArchivedFilms(
        published.images[start:stop], published.stoichiometry[start:stop], published.sha256
    )
    return arrays(rows, parameters)


def cached_path() -> Path:
    """Return where the published archive is kept: ``$XDG_CACHE_HOME/repro``, or ``~/.cache``."""
    return cache_folder() / "rheed_stoich_data.npz"


def fetch(path: str | Path, url: str = URL) -> Path:
    """Download the published archive; see `repro.datasets.downloads.fetch`."""
    return downloads.fetch(path, url, check=lambda file, source: _parse(_content(file), source))


# ---- what an archive must be


def _content(path: Path) -> bytes:
    if not path.is_file():
        raise ReproError(f"There is no file {path}: give an .npz with 'images' and 'stoich'.")
    try:
        return path.read_bytes()
    except PermissionError:
        raise ReproError(f"{path} may not be read: ask its owner for the permission.") from None


def _parse(content: bytes, source: str) -> ArchivedFilms:
    images, stoich = _entries(content, source, ("images", "stoich"))
    images, stoich = _as_films(images, source), _as_contents(stoich, source)
    if len(images) != len(stoich):
        raise ReproError(
            f"{source} has {len(images)} images but {len(stoich)} Sr contents: give one a film."
        )
    if len(images) < 2:
        raise ReproError(f"{source} has fewer than two films: give at least two.")
    _check_contents(stoich, source)
    return ArchivedFilms(_fractions(images, source), stoich, hashlib.sha256(content).hexdigest())


def _entries(content: bytes, source: str, wanted: tuple[str, ...]) -> list[np.ndarray]:
    if not content.startswith(b"PK"):
        raise ReproError(f"{source} is no .npz: save one with numpy.savez(FILE, images=, stoich=).")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist()]
        if not set(wanted) <= set(names):
            raise ReproError(
                f"{source} holds {', '.join(names) or 'nothing'}: an archive of films holds "
                "'images' and 'stoich'."
            )
        found = read_npz(io.BytesIO(content), wanted)
        return [found[name] for name in wanted]
    except UNREADABLE as error:
        if "allow_pickle" in str(error):
            raise ReproError(
                f"{source} holds pickled objects, which are never loaded: save plain arrays."
            ) from None
        raise ReproError(f"{source} is damaged or cut off: copy or download it again.") from None


def _as_films(images: np.ndarray, source: str) -> np.ndarray:
    _check_numbers(images, "images", source)
    if images.ndim == 4 and images.shape[-1] in (2, 3, 4):
        raise ReproError(
            f"{source} has colour images, {images.shape}: give their intensity, one number a pixel."
        )
    if images.ndim != 3:
        raise ReproError(
            f"{source} has 'images' of the shape {images.shape}: give (films, height, width)."
        )
    if min(images.shape[1:]) < 2:
        raise ReproError(
            f"{source} has images of {images.shape[1]} by {images.shape[2]} pixels: give patterns."
        )
    return images


def _as_contents(stoich: np.ndarray, source: str) -> np.ndarray:
    _check_numbers(stoich, "stoich", source)
    if stoich.ndim != 1:
        raise ReproError(f"{source} has 'stoich' of the shape {stoich.shape}: give (films,).")
    return stoich.astype(np.float64)


def _check_numbers(array: np.ndarray, name: str, source: str) -> None:
    if array.dtype.kind not in "fiu":
        raise ReproError(
            f"{source} has '{name}' of the type {array.dtype}: give real numbers, such as float32."
        )
    if not np.isfinite(array).all():
        film = int(np.argwhere(~np.isfinite(array))[0][0]) if array.ndim else 0
        raise ReproError(f"{source} has a number in '{name}' that is not finite, of film {film}.")


def _check_contents(stoich: np.ndarray, source: str) -> None:
    if stoich.min() < 0 or stoich.max() > 100:
        wrong = stoich[(stoich < 0) | (stoich > 100)][0]
        raise ReproError(f"{source} has a Sr content of {wrong:g} at.%: it lies from 0 to 100.")
    if stoich.max() <= 1:
        raise ReproError(
            f"{source} has Sr contents up to {stoich.max():g}: these are fractions, give percent "
            "of the cations (50 is stoichiometric)."
        )
    if np.ptp(stoich) == 0:
        raise ReproError(
            f"{source} has films of {stoich[0]:g} at.% only: nothing can be learnt from one Sr "
            "content."
        )


def _fractions(images: np.ndarray, source: str) -> np.ndarray:
    """Return images as fractions of full scale, float32."""
    flat = images.reshape(len(images), -1)
    lowest, highest = flat.min(axis=1), flat.max(axis=1)
    if (lowest == highest).any():
        film = int(np.argmax(lowest == highest))
        kind = "an empty image" if highest[film] == 0 else "an image of one brightness only"
        raise ReproError(f"{source} has {kind}, of film {film}: leave the film out.")
    if lowest.min() < -ROUNDING:
        raise ReproError(
            f"{source} has intensities below 0, down to {lowest.min():g}, of film "
            f"{int(lowest.argmin())}: give intensities before any logarithm or z-score."
        )
    full_scale = _full_scale(float(highest.max()), source)
    return np.clip(images.astype(np.float32) / full_scale, 0, 1)


def _full_scale(brightest: float, source: str) -> int:
    fitting = [scale for scale in FULL_SCALES if brightest <= scale * (1 + ROUNDING)]
    is_dark = fitting and fitting[0] > 1 and brightest < LEAST_COUNT * fitting[0]
    if not fitting or is_dark:
        raise ReproError(
            f"{source} has intensities up to {brightest:g}: give fractions of full scale, 0 to 1, "
            "or counts of 8, 12 or 16 bits."
        )
    return fitting[0]


ARCHIVE = Archive(
    data_spec="rheed_sto", suffix=".npz", read=read_archive, arrays=arrays, fetch=fetch
)
