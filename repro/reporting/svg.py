"""Small SVG: the picture that matplotlib drew, in a third of the bytes, for light and dark pages.

Matplotlib wraps every artist in a group, repeats its style in full and embeds images in true
colour. Here each style is written once, groups and names that nothing refers to go, coordinates
are rounded to a hundredth of a point and written relative to each other, and images with at most
256 colours get a palette. The eye sees no difference.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np
from PIL import Image

NAMESPACE = "http://www.w3.org/2000/svg"
SHARED_STYLE = (  # Verdana is as wide as DejaVu Sans, by which the figure was laid out
    "*{stroke-linejoin:round}text{font-family:DejaVu Sans,Verdana,sans-serif;white-space:pre}"
)
PNG = "data:image/png;base64,"
STEPS = 100  # to a point
PALETTE_SIZE = 256
EDGE = 2.0  # what is closer to an image's edge counts as beside the image [pt]
FONT = re.compile(r"font: ?((?:[\w.]+ )*)([\d.]+)px[^;]*")
NUMBER = re.compile(r"-?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?")
DECIMAL = re.compile(r"-?\d*\.\d+(?:e[-+]?\d+)?")
SEGMENT = re.compile(r"([MLQCz])([^MLQCz]*)")
REFERENCE = re.compile(r"(?<=url\(#)[^)]+|(?<=^#).+")
DOUBLED = re.compile(r"#(\w)\1(\w)\2(\w)\3(?!\w)")


@dataclass(frozen=True)
class Style:
    """The properties of an element; those on an image stay the same in dark mode."""

    properties: tuple[tuple[str, str], ...]
    on_image: bool = False


def compact(content: bytes, dark: Mapping[str, str]) -> bytes:
    """Return an SVG that matplotlib wrote as one that looks the same and is smaller.

    Parameters
    ----------
    content : bytes
        The SVG, its texts written as texts.
    dark : mapping
        The colour that a page in dark mode shows instead of a colour, both as ``#rrggbb``. What
        is drawn on an image keeps its colour, since the image does.
    """
    root = ElementTree.fromstring(content)
    _strip(root)
    _join_letters(root)
    styles = {element: _style(element) for element in root.iter() if "style" in element.attrib}
    for element in _on_images(root):
        if element in styles:
            styles[element] = Style(styles[element].properties, on_image=True)
    for element in root.iter():
        _shorten(element)
    _write_styles(root, styles, dark)
    _rename(root)
    _flatten(root)
    root.attrib = {"xmlns": NAMESPACE, **root.attrib}
    root.attrib.pop("version", None)
    return ElementTree.tostring(root, encoding="utf-8", xml_declaration=False)


def _strip(root: Element) -> None:
    """Drop namespaces, metadata, matplotlib's own style sheet and the space between elements."""
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        element.attrib = {name.rpartition("}")[2]: v for name, v in element.attrib.items()}
        element.tail = None
        if element.tag != "tspan" and not (element.text or "").strip():
            element.text = None
        for child in [c for c in element if c.tag.endswith(("metadata", "}style"))]:
            element.remove(child)


def _join_letters(root: Element) -> None:
    """Join letters of a formula that stand on one line in one style."""
    for text in root.iter("text"):
        before: Element | None = None
        for letter in list(text):
            if before is not None and all(
                letter.get(name) == before.get(name) for name in ("style", "y")
            ):
                before.text = (before.text or "") + (letter.text or "")
                text.remove(letter)
            else:
                before = letter


def _style(element: Element) -> Style:
    """Take an element's style, in short: the font's family is the same everywhere."""
    text = FONT.sub(_font, element.attrib.pop("style"))
    pairs = [part.split(":") for part in text.split(";") if ":" in part]
    properties = {name.strip(): value.strip() for name, value in pairs}
    properties.pop("font-family", None)
    return Style(tuple((name, _rounded(value)) for name, value in properties.items()))


def _font(font: re.Match[str]) -> str:
    """Write a font without its family."""
    words = font[1].split()
    weight = next((f";font-weight:{w}" for w in words if w in ("bold", "600", "700")), "")
    slant = next((f";font-style:{w}" for w in words if w in ("italic", "oblique")), "")
    return f"font-size:{font[2]}px{weight}{slant}"


def _on_images(root: Element) -> Iterator[Element]:
    """Yield what is drawn within the bounds of an opaque image of the same axes."""
    for axes in root.iter("g"):
        if axes.get("id", "").startswith("axes"):
            images = [image for image in axes.iter("image") if _is_opaque(image)]
            boxes = [_bounds(image) for image in images]
            for element in axes.iter() if boxes else ():
                place = _place(element)
                if place and any(x0 < place[0] < x1 and y0 < place[1] < y1
                                 for x0, y0, x1, y1 in boxes):  # fmt: skip
                    yield from element.iter()


def _is_opaque(image: Element) -> bool:
    """Whether nothing shines through an image, as it does between rasterised marks."""
    return not image.get("href", "").startswith(PNG) or bool((_pixels(image)[..., 3] == 255).all())


def _pixels(image: Element) -> np.ndarray:
    """Return an image's colours, ``(height, width, 4)`` uint8."""
    content = base64.b64decode(image.get("href", "").removeprefix(PNG))
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGBA"))


def _bounds(image: Element) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom of an image's inside [pt]."""
    x, y, width, height = (float(image.get(name, 0)) for name in ("x", "y", "width", "height"))
    transform = image.get("transform", "")
    if transform.startswith("matrix"):
        x_scale, _, _, y_scale, x, y = map(float, NUMBER.findall(transform))
        width, height = width * x_scale, height * y_scale
    elif transform.startswith("scale(1 -1)"):  # and moved by its height
        y = -y
    top, bottom = sorted((y, y + height))
    return x + EDGE, top + EDGE, x + width - EDGE, bottom - EDGE


def _place(element: Element) -> tuple[float, float] | None:
    """Return where an element begins [pt]; none if it does not say."""
    for text in (element.get("d"), element.get("transform")):
        if text and (text.startswith(("M", "translate"))):
            x, y = NUMBER.findall(text)[:2]
            return float(x), float(y)
    if element.tag in ("text", "use") and "x" in element.attrib:
        return float(element.get("x", 0)), float(element.get("y", 0))
    return None


def _shorten(element: Element) -> None:
    """Round an element's numbers, drop a turn by nothing, give an image a palette."""
    for name, value in list(element.attrib.items()):
        if name == "d":
            element.set(name, short_path(value))
        elif name == "href" and value.startswith(PNG):
            element.set(name, _smaller_png(element))
        elif name == "transform":
            digits = 5 if "scale" in value or "matrix" in value else 2
            element.set(name, _rounded(re.sub(r"rotate\(-0 [^)]*\)", "", value).strip(), digits))
        elif name in ("x", "y", "width", "height") and element.tag != "svg":
            element.set(name, _rounded(value))
        if not element.get(name):
            element.attrib.pop(name)


def _rounded(text: str, digits: int = 2) -> str:
    """Round every number in a text and write every colour short."""
    text = DECIMAL.sub(lambda match: _number(float(match[0]), digits), text)
    return DOUBLED.sub(r"#\1\2\3", text)


def _number(value: float, digits: int = 2) -> str:
    text = f"{value:.{digits}f}".rstrip("0").rstrip(".")
    return re.sub(r"^(-?)0\.", r"\1.", text) if text != "-0" else "0"


def short_path(data: str) -> str:
    """Write a path of M, L, Q, C and z relative to itself, in hundredths of a point.

    Every point is rounded before differences are taken, so that errors do not add up.
    """
    x, y, start, last, written = 0, 0, (0, 0), "", ""
    for command, coordinates in SEGMENT.findall(data):
        numbers = [round(float(number) * STEPS) for number in NUMBER.findall(coordinates)]
        if command == "z":
            (x, y), last = start, "z"
            written += "z"
            continue
        relative = [n - (x, y)[i % 2] for i, n in enumerate(numbers)]
        x, y = numbers[-2:]
        start = (x, y) if command == "M" else start
        name = "m" if command == "M" else command.lower()
        if name == "l" and 0 in relative:  # along an axis
            name, relative = ("h", relative[:1]) if relative[1] == 0 else ("v", relative[1:])
        written += "" if name == last and name != "m" else name
        for number in (_number(n / STEPS) for n in relative):
            written += number if number[0] == "-" or written[-1].isalpha() else f" {number}"
        last = name
    return f"M{written[1:]}" if written else ""


def _smaller_png(image: Element) -> str:
    """Give an image with few colours a palette; every pixel keeps its colour."""
    pixels = _pixels(image)
    colours, index = np.unique(pixels.reshape(-1, 4), axis=0, return_inverse=True)
    if len(colours) > PALETTE_SIZE:
        return "".join(image.get("href", "").split())
    indexed = Image.fromarray(index.reshape(pixels.shape[:2]).astype(np.uint8), "P")
    indexed.putpalette(np.ascontiguousarray(colours[:, :3]).tobytes())
    alpha = {} if (colours[:, 3] == 255).all() else {"transparency": colours[:, 3].tobytes()}
    buffer = io.BytesIO()
    indexed.save(buffer, "PNG", optimize=True, **alpha)
    uri = PNG + base64.b64encode(buffer.getvalue()).decode()
    return min(uri, "".join(image.get("href", "").split()), key=len)


def _write_styles(root: Element, styles: dict[Element, Style], dark: Mapping[str, str]) -> None:
    """Put every style once into a style sheet, and its class on the elements that have it."""
    shown = {_rounded(light): _rounded(colour) for light, colour in dark.items()}
    names = {style: _short_name(i) for i, style in enumerate(dict.fromkeys(styles.values()))}
    for element, style in styles.items():
        if style.properties:
            element.set("class", names[style])
    rules, dark_rules = SHARED_STYLE, ""
    for style, name in names.items():
        changed = [(key, shown[v]) for key, v in style.properties if v in shown]
        rules += _rule(name, style.properties)
        dark_rules += _rule(name, changed) if not style.on_image else ""
    sheet = Element("style")
    sheet.text = rules + (
        f"@media(prefers-color-scheme:dark){{{dark_rules}}}" if dark_rules else ""
    )
    root.insert(0, sheet)


def _rule(name: str, properties: list[tuple[str, str]] | tuple[tuple[str, str], ...]) -> str:
    text = ";".join(f"{key}:{value}" for key, value in properties)
    return f".{name}{{{text}}}" if text else ""


def _short_name(i: int) -> str:
    """Return the i-th of a, b ... z, aa, ab ..."""
    letters = ""
    while i >= 0:
        letters = chr(ord("a") + i % 26) + letters
        i = i // 26 - 1
    return letters


def _rename(root: Element) -> None:
    """Drop names that nothing refers to, and shorten the others."""
    attributes = [value for element in root.iter() for value in element.attrib.values()]
    used = [match[0] for value in attributes for match in REFERENCE.finditer(value)]
    names = {name: _short_name(i) for i, name in enumerate(dict.fromkeys(used))}
    for element in root.iter():
        for key, value in element.attrib.items():
            if key == "id" or value.startswith(PNG):
                continue
            element.set(key, REFERENCE.sub(lambda match: names[match[0]], value))
        name = names.get(element.attrib.pop("id", ""))
        if name:
            element.set("id", name)


def _flatten(element: Element) -> None:
    """Put the content of groups that say nothing in their place; drop what is empty."""
    children = []
    for child in list(element):
        _flatten(child)
        if child.tag in ("g", "defs") and not len(child):
            continue
        children += list(child) if child.tag == "g" and not child.attrib else [child]
    element[:] = children
