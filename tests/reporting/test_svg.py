import base64
import io
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from repro.reporting import figures
from repro.reporting.svg import PNG, compact, short_path

SVG = "{http://www.w3.org/2000/svg}"


def confusion_matrix():
    """A figure with an image, texts on it and beside it, and a line with marks."""
    figure, axes = figures.new_figure(1, 2, width=figures.PAGE_WIDTH)
    with figures.house_style():
        left, right = axes[0]
        left.imshow([[0.9, 0.1], [0.2, 0.8]])
        left.text(0, 0, "on the image", color=figures.INK, ha="center")
        left.set_title("beside $R^2$")
        right.plot(np.linspace(0, 1, 50), np.sin(np.arange(50)), "o-")
    return figure


@pytest.fixture(scope="module")
def both():
    """The figure as matplotlib writes it and as we do."""
    figure, buffer = confusion_matrix(), io.BytesIO()
    with figures.house_style():
        figure.savefig(buffer, format="svg")
    return buffer.getvalue(), figures.image(figure, ".svg")


def points(path):
    """Return the points of a path, absolute or relative, ``(n, 2)``."""
    x, y, start, found = 0.0, 0.0, (0.0, 0.0), []
    for command, text in re.findall(r"([A-Za-z])([^A-Za-z]*)", path):
        numbers = [float(n) for n in re.findall(r"-?(?:\d+\.?\d*|\.\d+)", text)]
        origin = (x, y) if command.islower() else (0.0, 0.0)
        if command in "hv":
            steps = [(n, 0.0) if command == "h" else (0.0, n) for n in numbers]
        else:
            steps = list(zip(numbers[::2], numbers[1::2], strict=True))
        group = {"Q": 2, "C": 3}.get(command.upper(), 1)
        for i, (dx, dy) in enumerate(steps):
            found.append((origin[0] + dx, origin[1] + dy))
            if (i + 1) % group == 0:
                x, y = found[-1]
                origin = (x, y) if command.islower() else (0.0, 0.0)
        if command in "mM":
            start = (x, y)
        if command in "zZ":
            x, y = start
    return np.array(found)


def test_paths_keep_every_point():
    # Rounding errors that add up would bend a long curve.
    rng = np.random.default_rng(0)
    curve = rng.uniform(0, 500, (3000, 2))
    path = "M 1.005 2.5 \n" + "".join(f"L {x:.6f} {y:.6f} \n" for x, y in curve)
    path += "C 1 2 3 4 5 6 \nQ 7 8 9 10 \nL 9 30 \nL 20 30 \nz\nM 3 4 \nL 5 6 \nL 5 9 \n"
    short = short_path(path)
    np.testing.assert_allclose(points(short), points(path), atol=0.0051)
    assert len(short) < 0.7 * len(path)


def test_figure_is_smaller_and_keeps_its_texts(both):
    # A title that is lost, or drawn as outlines, cannot be read, found or copied.
    whole, small = both
    assert len(small) < len(whole) / 2
    texts = ["".join(text.itertext()) for text in ElementTree.fromstring(small).iter(f"{SVG}text")]
    assert {"on the image", "beside R2", "1.0"} <= {text.replace("\u00a0", " ") for text in texts}


def test_image_keeps_the_colour_of_every_pixel(both):
    # A palette that lacks a colour would change the measured image.
    whole, small = (
        re.search(rb'href="data:image/png;base64,([^"]+)"', content)[1] for content in both
    )
    pixels = [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded))).convert("RGBA"))
        for encoded in (whole, small)
    ]
    np.testing.assert_array_equal(*pixels)


def test_every_reference_is_answered(both):
    # A mark or a clip path without its definition is not drawn.
    text = both[1].decode()
    named = set(re.findall(r' id="([^"]+)"', text))
    used = set(re.findall(r'(?:url\(#|href="#)([^")]+)', text))
    assert used == named


def test_dark_mode_changes_what_stands_on_paper_and_not_what_stands_on_an_image(both):
    # Dark ink on a dark page cannot be read, nor bright ink on a bright image.
    text = both[1].decode()
    rules = text[text.index("prefers-color-scheme:dark") : text.index("</style>")]
    of = {words: re.search(rf'class="(\w+)">{words}', text)[1] for words in ("on the", "1.0")}
    assert f".{of['1.0']}{{fill:{figures.DARK[figures.INK]}}}" in rules
    assert f".{of['on the']}{{" not in rules


def test_image_with_many_colours_is_kept():
    # A photograph has no palette.
    noise = np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "PNG")
    uri = PNG + base64.b64encode(buffer.getvalue()).decode()
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><image href="{uri}"/></svg>'
    assert uri in compact(svg.encode(), {}).decode()
