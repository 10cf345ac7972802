"""Uploads: what growers send in is read as the intensity it stands for, or refused."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import struct
import zlib

import numpy as np
import pytest
import tifffile
from matplotlib import colormaps
from PIL import Image

from repro.errors import ReproError
from repro.studies.rheed_translator.page.colours import MAPS
from repro.studies.rheed_translator.page.uploads import LARGEST, read_stack, read_upload, region

TRIES = int(os.environ.get("REPRO_TEST_BYTES", "60"))


def pattern(height: int = 64, width: int = 96) -> np.ndarray:
    """Return five streaks over a weak background, from 0 to 1, like a RHEED pattern."""
    y, x = np.mgrid[:height, :width]
    image = 0.05 * np.exp(-y / height)
    for order in range(-2, 3):
        column = width / 2 + order * width / 6
        image += np.exp(
            -(((x - column) * 34 / width) ** 2) - (4 * y / height - 1) ** 2 - abs(order)
        )
    return (image - image.min()) / np.ptp(image)


PATTERN = pattern()


def picture(values: np.ndarray, kind: str = "PNG", **options) -> bytes:
    return encoded(Image.fromarray(values), kind, **options)


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def npy(values: np.ndarray, **options) -> bytes:
    file = io.BytesIO()
    np.save(file, values, **options)
    return file.getvalue()


def integers(dtype: type, values: np.ndarray = PATTERN) -> np.ndarray:
    return np.rint(values * np.iinfo(dtype).max).astype(dtype)


def coloured(name: str, values: np.ndarray = PATTERN) -> np.ndarray:
    return colormaps[name](values, bytes=True)[..., :3]


def refusal(name: str, content: bytes) -> str:
    with pytest.raises(ReproError) as caught:
        read_upload(name, content)
    message = str(caught.value)
    assert message.startswith(name)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("name", "content", "notice"),
    [
        ("film.png", picture(integers(np.uint8)), "8-bit integers, divided by 255."),
        ("film.png", picture(integers(np.uint16)), "16-bit integers, divided by 65535."),
        ("FILM.TIF", picture(integers(np.uint8), "TIFF"), "8-bit integers, divided by 255."),
        ("film.tiff", picture(integers(np.uint16), "TIFF"), "16-bit integers, divided by 65535."),
        ("film.npy", npy(integers(np.uint8)), "8-bit integers, divided by 255."),
        ("film.npy", npy(integers(np.uint16).astype(">u2")), "16-bit integers, divided by 65535."),
        ("film.npy", npy(255 * PATTERN), "Fractional values up to 255, divided by 255."),
    ],
)
def test_numbers_are_divided_by_the_full_range_of_their_type_and_it_is_said(name, content, notice):
    # Published uploads of 0 to 255 entered the network 255 times too bright.
    upload = read_upload(name, content)
    assert upload.image.dtype == np.float32
    np.testing.assert_allclose(upload.image, PATTERN, atol=0.5 / 255)
    assert upload.notices == (notice,)


def test_a_dim_image_stays_dim():
    # Stretching to the brightest pixel would hide an exposure that the user should hear of.
    upload = read_upload("film.png", picture(integers(np.uint16, PATTERN / 16)))
    assert upload.image.max() == pytest.approx(1 / 16, rel=1e-3)


@pytest.mark.parametrize(
    "values",
    [
        PATTERN,
        PATTERN.astype(np.float32),
        np.asfortranarray(PATTERN),
        PATTERN.astype(">f8"),
        PATTERN[np.newaxis],
        PATTERN[..., np.newaxis],
    ],
)
def test_fractions_in_npy_are_taken_as_they_are(values):
    upload = read_upload("film.npy", npy(values))
    np.testing.assert_array_equal(upload.image, PATTERN.astype(np.float32))
    assert upload.notices == ()


def test_fractions_in_tif_are_taken_as_they_are():
    upload = read_upload("film.tif", picture(PATTERN.astype(np.float32), "TIFF"))
    np.testing.assert_array_equal(upload.image, PATTERN.astype(np.float32))


def tif(values: np.ndarray, **options) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, values, **options)
    return file.getvalue()


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_tif_whose_zeros_are_white_is_turned_over_and_it_is_said(dtype, order):
    # Pillow turns those of 8 bits, and leaves those of 16 as they are.
    content = tif(integers(dtype, 1 - PATTERN), photometric="miniswhite", byteorder=order)
    upload = read_upload("film.tif", content)
    np.testing.assert_allclose(upload.image, PATTERN, atol=1 / 255)
    assert "zeros are white" in upload.notices[0]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_fractions_whose_zeros_are_white_are_refused(dtype):
    content = tif(PATTERN.astype(dtype), photometric="miniswhite")
    assert "zeros are white" in refusal("film.tif", content)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"bigtiff": True}])
def test_fractions_of_16_and_64_bits_in_tif_are_taken_as_they_are(dtype, options):
    upload = read_upload("film.tif", tif(PATTERN.astype(dtype), **options))
    np.testing.assert_array_equal(upload.image, PATTERN.astype(dtype).astype(np.float32))


@pytest.mark.parametrize("order", "<>")
def test_a_tif_that_may_exceed_four_gigabytes_is_read(order):
    content = tif(integers(np.uint16), bigtiff=True, byteorder=order)
    np.testing.assert_allclose(read_upload("film.tif", content).image, PATTERN, atol=1 / 65535)


def test_many_pages_of_64_bits_are_a_stack_and_no_single_image():
    content = tif(np.stack([PATTERN, PATTERN / 2]), photometric="minisblack")
    assert "holds 2 images" in refusal("film.tif", content)
    images = [read().image for _, read in read_stack("film.tif", content)]
    np.testing.assert_array_equal(images[1], (PATTERN / 2).astype(np.float32))


def test_a_sound_tif_of_numbers_that_are_not_read_is_not_called_damaged():
    message = refusal("film.tif", tif(integers(np.uint8).astype(np.int64)))
    assert "int64" in message
    assert "damaged" not in message


@pytest.mark.parametrize("code", [5, 50000], ids=["LZW", "Zstandard"])
def test_a_sound_tif_of_a_rare_compression_is_not_called_damaged(code):
    plain = tif(PATTERN, compression="zlib")
    entry = struct.pack("<HHI", 259, 3, 1)  # the tag that says how it is compressed
    place = plain.index(entry) + len(entry)
    other = plain[:place] + struct.pack("<H", code) + plain[place + 2 :]
    message = refusal("film.tif", other)
    assert "compressed" in message
    assert "damaged" not in message


def test_of_a_phones_jpg_of_two_pictures_the_photograph_is_read():
    # Pillow calls them another kind of file, and counts the preview as a second image.
    photograph, preview = (Image.fromarray(integers(np.uint8, v)) for v in (PATTERN, 0 * PATTERN))
    content = encoded(photograph, "MPO", save_all=True, append_images=[preview])
    np.testing.assert_allclose(read_upload("IMG_1.jpg", content).image, PATTERN, atol=0.1)
    assert len(read_stack("IMG_1.jpg", content)) == 1


def test_a_jpg_is_read():
    upload = read_upload("film.jpeg", picture(integers(np.uint8), "JPEG", quality=95))
    np.testing.assert_allclose(upload.image, PATTERN, atol=0.05)


@pytest.mark.parametrize(("kind", "name"), [("PNG", "film.png"), ("JPEG", "film.jpg")])
def test_grey_stored_as_colours_is_grey(kind, name):
    grey = np.repeat(integers(np.uint8)[..., np.newaxis], 3, axis=2)
    upload = read_upload(name, picture(grey, kind))
    np.testing.assert_allclose(upload.image, PATTERN, atol=0.06)
    assert "Grey stored as colours" in upload.notices[-1]


def test_colours_in_npy_are_judged_like_those_in_a_png():
    upload = read_upload("film.npy", npy(coloured("viridis")))
    np.testing.assert_allclose(upload.image, PATTERN, atol=0.01)


@pytest.mark.parametrize("name", MAPS)
def test_a_colour_map_is_turned_back_into_intensity(name):
    # Taken as brightness, a jet image has its brightest parts at middle intensity.
    upload = read_upload("film.png", picture(coloured(name)))
    np.testing.assert_allclose(upload.image, PATTERN, atol=0.01)
    assert f"Colours of the map {name}" in upload.notices[-1]


@pytest.mark.parametrize("name", MAPS)
def test_a_colour_map_is_recognised_through_jpg(name):
    large = pattern(256, 384)
    upload = read_upload("film.jpg", picture(coloured(name, large), "JPEG", quality=75))
    assert f"Colours of the map {name}" in upload.notices[-1]
    assert np.abs(upload.image - large).mean() < 0.01


def test_a_palette_is_read_by_its_colours():
    palette = Image.fromarray(integers(np.uint8)).convert("P")
    palette.putpalette(colormaps["viridis"](np.arange(256), bytes=True)[:, :3].tobytes())
    upload = read_upload("film.png", encoded(palette))
    np.testing.assert_allclose(upload.image, PATTERN, atol=0.01)


@pytest.mark.parametrize("name", ["Greens", "RdBu", "coolwarm", "gnuplot2", "hsv", "viridis_r"])
def test_colours_of_unknown_meaning_are_refused(name):
    # Read by brightness they would give a number, and nobody would know that it is wrong.
    assert "neither grey, one hue" in refusal("film.png", picture(coloured(name)))


@pytest.mark.parametrize("exposure", [0.8, 1.0, 1.5])
def test_a_photograph_of_a_green_screen_is_read_from_its_green_channel(exposure):
    noise = np.random.default_rng(0).normal(0, 0.01, (*PATTERN.shape, 3))
    screen = exposure * PATTERN[..., np.newaxis] * (0.35, 1.0, 0.3) + noise
    content = picture(integers(np.uint8, screen.clip(0, 1)), "JPEG", quality=90)
    upload = read_upload("screen.jpg", content)
    assert "green channel" in upload.notices[-1]
    assert np.corrcoef(upload.image.ravel(), PATTERN.ravel())[0, 1] > 0.97


def test_an_inverted_image_is_remarked_on():
    upload = read_upload("film.png", picture(integers(np.uint8, 1 - PATTERN)))
    assert "invert" in upload.notices[-1]


def test_an_opaque_fourth_channel_does_not_matter():
    opaque = np.dstack([coloured("viridis"), np.full(PATTERN.shape, 255, np.uint8)])
    np.testing.assert_allclose(read_upload("f.png", picture(opaque)).image, PATTERN, atol=0.01)


def test_transparent_places_are_refused():
    opacity = np.full(PATTERN.shape, 255, np.uint8)
    opacity[:3] = 0
    transparent = np.dstack([coloured("viridis"), opacity])
    assert "transparent" in refusal("film.png", picture(transparent))


def test_a_photograph_is_turned_as_its_camera_noted():
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held on its side
    upload = read_upload("film.jpg", picture(integers(np.uint8), "JPEG", exif=exif))
    assert upload.image.shape == PATTERN.T.shape
    assert any("upright" in notice for notice in upload.notices)


def test_deep_colours_that_are_cut_to_eight_bits_are_remarked_on():
    deep = np.repeat(integers(np.uint16)[..., np.newaxis], 3, axis=2)
    upload = read_upload("film.png", deep_png(deep))
    np.testing.assert_allclose(upload.image, PATTERN, atol=1 / 255)
    assert any("upper 8" in notice for notice in upload.notices)


def deep_png(values: np.ndarray) -> bytes:
    """Return a PNG with 16 bits a channel, which Pillow reads but does not write."""
    height, width, _ = values.shape
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in values)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


class Trap:
    """Does harm when it is unpickled."""

    def __reduce__(self):
        return (pytest.fail, ("an upload was unpickled",))


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_nothing_is_ever_unpickled(protocol):
    # A pickle runs whatever code its author likes.
    objects = np.array([[Trap()] * 40] * 40, dtype=object)
    assert "could run code" in refusal("film.npy", npy(objects, allow_pickle=True))
    refusal("film.npy", pickle.dumps(Trap(), protocol))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("film.png", b"", "0 bytes"),
        ("film.png", b"no image at all", "damaged or no PNG"),
        ("film.png", picture(integers(np.uint8))[:200], "damaged"),
        ("film.jpg", picture(integers(np.uint8), "JPEG")[:300], "damaged"),
        ("film.tif", picture(integers(np.uint8), "TIFF")[:500], "damaged"),
        ("film.tif", b"II*\x00garbage", "damaged"),
        ("film.npy", npy(PATTERN)[:9], "header"),
        ("film.npy", npy(PATTERN)[:-8], "length"),
        ("film.npy", npy(PATTERN) + b"more", "length"),
        ("film.png", picture(integers(np.uint8), "JPEG"), "holds a JPEG"),
        ("film.npy", picture(integers(np.uint8)), "holds a PNG"),
        ("film.bmp", picture(integers(np.uint8), "BMP"), "only png, jpg, tif and npy"),
        ("film", picture(integers(np.uint8)), "only png, jpg, tif and npy"),
        ("film.npy", npy(np.where(PATTERN > 0.5, np.nan, PATTERN)), "NaN"),
        ("film.npy", npy(np.where(PATTERN > 0.5, np.inf, PATTERN)), "infinite"),
        ("film.npy", npy(PATTERN.astype(complex)), "complex128"),
        ("film.npy", npy(PATTERN > 0.5), "bool"),
        ("film.npy", npy(integers(np.uint8).astype(int)), "int64"),
        ("film.npy", npy(PATTERN.astype(str)), "str"),
        ("film.npy", npy(np.zeros((40, 40), [("a", "f4")])), "void"),
        ("film.npy", npy(PATTERN - 0.5), "values from -0.5"),
        ("film.npy", npy(4095 * PATTERN), "4095"),
        ("film.npy", npy(1.2 * PATTERN), "1.2"),
        ("film.npy", npy(np.stack([PATTERN] * 5)), "shape (5, 64, 96)"),
        ("film.npy", npy(PATTERN.ravel()), "shape (6144,)"),
        ("film.npy", npy(np.float64(0.5)), "shape ()"),
        ("film.npy", npy(np.zeros((0, 64))), "0 × 64"),
        ("film.png", picture(integers(np.uint8)[:31]), "31 × 96"),
        ("film.npy", npy(PATTERN[:, :31]), "64 × 31"),
        ("film.png", picture(np.full((64, 64), 7, np.uint8)), "same value everywhere"),
        ("film.png", picture(np.full((64, 64, 3), 7, np.uint8)), "same value everywhere"),
        ("film.npy", npy(np.zeros((64, 64))), "same value everywhere"),
        ("film.png", picture(PATTERN > 0.5), "black or white"),
        ("film.tif", picture(integers(np.int32), "TIFF"), "32-bit integers"),
        ("film.jpg", encoded(Image.new("CMYK", (64, 64)), "JPEG"), "printing inks"),
    ],
)
def test_what_is_no_intensity_is_refused_in_one_sentence(name, content, words):
    assert words in refusal(name, content)


@pytest.mark.parametrize(("kind", "name"), [("TIFF", "film.tif"), ("PNG", "film.png")])
def test_a_file_of_many_images_is_refused(kind, name):
    # Nobody can know which page of a growth movie was meant.
    pages = [Image.fromarray(integers(np.uint8, PATTERN / n)) for n in (1, 2, 3)]
    content = encoded(pages[0], kind, save_all=True, append_images=pages[1:])
    assert "holds 3 images" in refusal(name, content)


@pytest.mark.parametrize("side", [5_000, 12_000, 30_000])
def test_an_image_that_would_fill_the_memory_is_refused_before_it_is_decoded(side):
    # A few kilobytes can unfold to gigabytes.
    assert side**2 > LARGEST
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    content = bytearray(deep_png(np.zeros((32, 32, 3))))
    content[16:29] = header
    content[29:33] = struct.pack(">I", zlib.crc32(b"IHDR" + header))
    assert "million pixels" in refusal("bomb.png", bytes(content))


def test_a_header_that_promises_too_much_is_refused_before_memory_is_taken():
    file = io.BytesIO()
    header = {"descr": "<f8", "fortran_order": False, "shape": (10**9, 10**9)}
    np.lib.format.write_array_header_1_0(file, header)
    assert "million pixels" in refusal("bomb.npy", file.getvalue())


def test_a_part_of_an_image_is_that_part_and_must_not_be_too_small():
    upload = read_upload("a.png", picture(integers(np.uint8)))
    part = region(upload, columns=(50, 100), rows=(0, 75))
    np.testing.assert_array_equal(part.image, upload.image[:48, 48:])
    assert (part.notices, part.is_linear) == (upload.notices, upload.is_linear)
    with pytest.raises(ReproError, match="13 × 96 pixels; at least 32"):
        region(upload, columns=(0, 100), rows=(0, 20))


def test_numbers_of_8_bits_may_be_curved_and_those_of_a_camera_are_not():
    kinds = {
        "a.png": (picture(integers(np.uint8)), False),
        "b.png": (picture(integers(np.uint16)), True),
        "c.npy": (npy(PATTERN.astype(np.float32)), True),
        "d.png": (picture(colormaps["viridis"](PATTERN, bytes=True)[..., :3]), False),
    }
    for name, (content, is_linear) in kinds.items():
        assert read_upload(name, content).is_linear == is_linear, name


FUZZED = {
    "film.png": picture(integers(np.uint16)),
    "film.jpg": picture(integers(np.uint8), "JPEG"),
    "film.tif": tif(integers(np.uint16)),
    "deflated.tif": tif(PATTERN, compression="zlib"),
    "big.tif": tif(integers(np.uint8), bigtiff=True),
    "film.npy": npy(PATTERN),
}


@pytest.mark.parametrize("name", FUZZED)
def test_a_flipped_byte_of_a_file_ends_in_an_image_or_in_a_sentence(name):
    whole, draw = FUZZED[name], np.random.default_rng(0)
    # Headers, which say how all else is read, are short: every other flip is among them.
    for ends in [300, len(whole)] * (TRIES // 2):
        altered = bytearray(whole)
        altered[int(draw.integers(0, min(ends, len(whole))))] ^= int(draw.integers(1, 256))
        for read in (read_upload, read_stack):
            with contextlib.suppress(ReproError):
                read(name, bytes(altered))
