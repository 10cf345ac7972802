"""The parts of the growers' page as HTML: patterns with their legend, readings, notes, tables."""

from __future__ import annotations

import base64
import csv
import io
import re
from collections.abc import Iterable
from functools import cache
from html import escape
from importlib.resources import files

import numpy as np

from repro.reporting.formatting import spreadsheet_text
from repro.studies.rheed_translator.page.predict import (
    DEMONSTRATION,
    SIMULATED,
    Neighbour,
    Reading,
    Translator,
)
from repro.studies.rheed_translator.page.readings import Row
from repro.studies.rheed_translator.page.uploads import Upload

UNIT = "at.%"
SHOWN_SIDE = 720  # [pixel], the longer side of a pattern on the page
N_LEGEND_COLOURS = 16
COLUMNS = ("name", "Sr [at.%]", "low [at.%]", "high [at.%]", "in doubt", "remark", "error")
CURVED = (
    "The interval allows for a picture whose brightness was curved for the eye. If its numbers are "
    "proportional to the intensity, say so above: the interval becomes narrower."
)
STYLE = """
[data-testid="stToolbar"], [data-testid="stDecoration"] { display: none; }
[data-testid="stMainBlockContainer"] { max-width: 62rem; padding-top: 2.5rem; }
.rheed { overflow-wrap: break-word; }
.rheed h1 { margin: 0; padding: 0; font-size: clamp(1.7rem, 5vw, 2.4rem); font-weight: 650;
  line-height: 1.2; letter-spacing: -0.02em; }
.rheed p { max-width: 44rem; margin: 0.5rem 0; }
.rheed .lede { font-size: 1.1rem; color: var(--soft); }
.rheed .note { padding: 0.7rem 1rem; border-left: 3px solid var(--accent);
  background: var(--panel); color: var(--ink); }
.rheed .warning { border-color: var(--open); }
.rheed .error { border-color: var(--bad); }
.rheed .answer { margin: 1rem 0 0; font-size: 1.1rem; }
.rheed .answer strong { display: block; font-size: 2rem; line-height: 1.2; font-weight: 600;
  font-variant-numeric: tabular-nums; }
.rheed .answer.doubtful { color: var(--soft); }
.rheed .answer.doubtful strong { font-size: 1.3rem; font-weight: 400; }
.rheed .scale { position: relative; height: 0.5rem; margin: 0.8rem 0 0.2rem; max-width: 44rem;
  border-radius: 4px; background: var(--line); }
.rheed .scale span { position: absolute; top: 0; bottom: 0; border-radius: 4px;
  background: var(--accent); opacity: 0.5; }
.rheed .scale b { position: absolute; top: -0.25rem; bottom: -0.25rem; width: 3px;
  margin-left: -1.5px; background: var(--ink); }
.rheed .scale i { position: absolute; top: -0.15rem; bottom: -0.15rem; width: 1px;
  background: var(--soft); }
.rheed .ends { display: flex; justify-content: space-between; max-width: 44rem;
  color: var(--soft); font-size: 0.875rem; }
.rheed .patterns { display: grid; gap: 1.5rem; margin: 1.5rem 0 0.75rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 18rem), 1fr)); }
.rheed figure { margin: 0; min-width: 0; }
.rheed figure img { display: block; width: 100%; height: auto; border-radius: 4px; }
.rheed .frame { position: relative; overflow: hidden; border-radius: 4px; }
.rheed .frame span { position: absolute; top: 0; bottom: 0; width: 0;
  border-left: 1px dashed rgba(255, 255, 255, 0.75); }
.rheed .frame span b { position: absolute; bottom: 0.2rem; left: 0.2rem; color: #fff;
  font-size: 0.75rem; font-weight: 400; }
.rheed figcaption { margin-top: 0.5rem; font-size: 0.9rem; color: var(--soft); }
.rheed figcaption strong { color: var(--ink); }
.rheed .legend { display: flex; align-items: center; gap: 0.6rem; font-size: 0.875rem;
  color: var(--soft); }
.rheed .legend span { flex: 0 1 12rem; height: 0.6rem; border-radius: 3px; }
.rheed .course { position: relative; height: 12rem; border: 1px solid var(--line);
  border-radius: 4px; background: var(--panel); }
.rheed .course span { position: absolute; width: 2px; margin-left: -1px; opacity: 0.5;
  background: var(--accent); }
.rheed .course b { position: absolute; width: 6px; height: 6px; margin: -3px; border-radius: 3px;
  background: var(--accent); }
.rheed .course .pale { opacity: 0.3; }
.rheed .rows { overflow-x: auto; }
.rheed table { width: 100%; border-collapse: collapse; font-size: 0.925rem; }
.rheed caption { padding: 0 0 0.5rem; text-align: left; color: var(--soft); }
.rheed th, .rheed td { padding: 0.5rem 1rem 0.5rem 0; text-align: left; vertical-align: top;
  border: 0; border-top: 1px solid var(--line); font-variant-numeric: tabular-nums; }
.rheed thead th { border-top: 0; color: var(--soft); font-size: 0.87em; font-weight: 600; }
.rheed tbody th { min-width: 9rem; font-weight: 400; overflow-wrap: anywhere; }
.rheed td:last-child { min-width: 12rem; }
.rheed .bad { color: var(--bad); }
.rheed .open { color: var(--open); font-weight: 600; }
.rheed footer { margin-top: 2rem; padding-top: 1rem; border-top: 1px solid var(--line);
  color: var(--soft); font-size: 0.9rem; }
"""


@cache
def colours() -> tuple[dict[str, str], dict[str, str]]:
    """Return the report's colours by name, those of its light and those of its dark look."""
    sheet = files("repro.reporting").joinpath("templates", "report.css").read_text("utf-8")
    light, dark = re.findall(r":root \{(.*?)\}", sheet, re.DOTALL)[:2]
    return tuple(dict(re.findall(r"--(\w+): (#\w+);", block)) for block in (light, dark))


@cache
def style() -> str:
    """Return the page's style sheet, in the report's colours."""
    light, dark = (
        "".join(f"--{name}: {value};" for name, value in palette.items()) for palette in colours()
    )
    preference = f"@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}"
    return f"<style>:root {{ {light} }}\n{preference}\n{STYLE}</style>"


def masthead(translator: Translator) -> str:
    """Return the page's opening; whoever reads a simulated translator is told so here."""
    simulated = f"<strong>{SIMULATED}</strong> {DEMONSTRATION}"
    return _part(
        "<h1>RHEED patterns and stoichiometry of SrTiO₃ films</h1>"
        f'<p class="lede">{escape(translator.title)}</p>'
        f"<p>{escape(accuracy(translator))}</p>"
        + (f'<p class="note warning">{simulated}</p>' if translator.is_synthetic else "")
    )


def accuracy(translator: Translator) -> str:
    """Say how well films are read that were not learned from."""
    return (
        "Sr content is read off A02/A00, the second-order over the (00) streak, by a line through "
        f"{len(translator.contents)} films. Each of these, read by the line through all others, is "
        f"missed by {translator.left_out_error:.1f} {UNIT} on average."
    )


def footnote(translator: Translator) -> str:
    """Say what the number is and where it ends to be of use."""
    films = "simulated films" if translator.is_synthetic else "films"
    return _part(
        "<footer><p>The number is the Sr content in atomic percent of the cations, Sr and Ti; "
        f"50 {UNIT} is stoichiometric SrTiO₃. The interval is meant to hold the true value for "
        f"{percent(translator.level)} of the films that are like the training films.</p>"
        f"<p>The translator learned from {len(translator.contents)} {films} with "
        f"{translator.lowest:.1f} to {translator.highest:.1f} {UNIT} Sr. It knows no others: "
        "not other materials, azimuths, beam energies or cameras.</p></footer>"
    )


def percent(share: float) -> str:
    """Write a share of one as a percentage."""
    return f"{100 * share:.0f} %"


def note(text: str, kind: str = "note") -> str:
    """Return a sentence that stands out: a ``note``, a ``warning`` or an ``error``."""
    role = "note" if kind == "note" else "alert"
    return _part(f'<p class="note {kind}" role="{role}">{escape(text)}</p>')


def reading_view(name: str, upload: Upload, reading: Reading, translator: Translator) -> str:
    """Show what was read from an image: doubts, number, interval, and both patterns."""
    remarks = (*upload.notices, *(() if reading.is_linear else (CURVED,)))
    doubt = f"The number cannot be trusted. {' '.join(reading.doubts)}"
    return (
        (note(doubt, "warning") if reading.is_doubtful else "")
        + _part(_answer(reading, translator))
        + (note(" ".join(remarks)) if remarks else "")
        + patterns(
            _figure(upload.image, "Your image", f"{name}; {_ratio(reading)}", reading.streaks),
            _figure(reading.reconstruction, "Reconstruction", f"{name} as the translator sees it"),
        )
    )


def drawn_view(stoichiometry: float, drawn: np.ndarray, nearest: Neighbour, real: bool) -> str:
    """Show a generated pattern beside the training film nearest to it."""
    kind = "real" if real else "simulated"
    return patterns(
        _figure(drawn, "Generated pattern", f"{stoichiometry:.1f} {UNIT} Sr"),
        _figure(
            nearest.image,
            f"Nearest {kind} film",
            f"{nearest.name}, {nearest.stoichiometry:.1f} {UNIT} Sr",
        ),
    )


def patterns(*figures: str) -> str:
    """Put patterns side by side, over the legend of their colours."""
    return _part(f'<div class="patterns">{"".join(figures)}</div>{_legend()}')


def course(rows: list[Row], translator: Translator) -> str:
    """Draw the Sr content of images in their order, such as the frames of a movie, over its range.

    A bar an image from one end of its interval to the other, a mark at the number; what is in doubt
    is pale.
    """
    lowest, highest = _course_range(rows, translator)
    bars = []
    for place, row in enumerate(rows):
        if row.reading is None:
            continue
        at = 100 * (place + 0.5) / len(rows)
        low, value, high = (
            100 * (highest - x) / (highest - lowest)
            for x in (row.reading.low, row.reading.stoichiometry, row.reading.high)
        )
        pale = ' class="pale"' if row.reading.is_doubtful else ""
        height = f"height: {low - high:.2f}%"
        bars.append(
            f'<span style="left: {at:.2f}%; top: {high:.2f}%; {height}"{pale}></span>'
            f'<b style="left: {at:.2f}%; top: {value:.2f}%"{pale}></b>'
        )
    about = f"Sr content of {len(rows)} images in their order, {lowest:.0f} to {highest:.0f} {UNIT}"
    return _part(
        f'<figure><div class="course" role="img" aria-label="{escape(about)}">{"".join(bars)}</div>'
        f"<figcaption>{escape(about)}; bars: intervals.</figcaption></figure>"
    )


def _course_range(rows: list[Row], translator: Translator) -> tuple[float, float]:
    """Return the Sr contents that the axis of a course runs between [at.%]."""
    read = [row.reading for row in rows if row.reading is not None]
    lowest = min([translator.lowest, *(reading.low for reading in read)])
    return lowest, max([translator.highest, *(reading.high for reading in read)])


def table(rows: list[Row], level: float) -> str:
    """Return the readings of several files as a table."""
    headings = (
        "File",
        f"Sr [{UNIT}]",
        f"{percent(level)} interval [{UNIT}]",
        "In doubt",
        "Remark",
    )
    head = "".join(f'<th scope="col">{heading}</th>' for heading in headings)
    n_read = sum(row.reading is not None for row in rows)
    return _part(
        f'<div class="rows"><table><caption>{n_read} of {len(rows)} images read.</caption>'
        f"<thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(map(_table_row, rows))}</tbody></table></div>"
    )


def csv_text(rows: list[Row]) -> str:
    """Return the readings of several files as CSV; numbers in at.%, empty where not read."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        numbers = ("", "", "", "")
        if row.reading is not None:
            read = row.reading
            values = (read.stoichiometry, read.low, read.high)
            numbers = (*(f"{value:.3f}" for value in values), "yes" if read.is_doubtful else "no")
        name, remark, error = map(spreadsheet_text, (row.name, row.remark, row.error))
        writer.writerow([name, *numbers, remark, error])
    return text.getvalue()


def pattern_png(image: np.ndarray) -> bytes:
    """Return a pattern as a PNG in the colours of the report's images.

    Parameters
    ----------
    image : numpy.ndarray
        ``(height, width)``; the colours run from 0 to its greatest value.
    """
    from PIL import Image

    shown = Image.fromarray(np.asarray(image, np.float32))
    shown.thumbnail((SHOWN_SIDE, SHOWN_SIDE), Image.Resampling.BOX)
    values = np.asarray(shown)
    brightest = max(float(values.max()), 1e-12)
    file = io.BytesIO()
    Image.fromarray(_colour_map()(values / brightest, bytes=True)[..., :3]).save(file, "PNG")
    return file.getvalue()


def _part(content: str) -> str:
    return f'<div class="rheed">{content}</div>'


def _answer(reading: Reading, translator: Translator) -> str:
    """Return the number, its interval, and where both lie in the range of the training films."""
    kind = "answer doubtful" if reading.is_doubtful else "answer"
    return (
        f'<p class="{kind}" role="status"><strong>{reading.stoichiometry:.1f} {UNIT} Sr</strong>'
        f"{percent(translator.level)} interval: {reading.low:.1f} to {reading.high:.1f} {UNIT}</p>"
        f'<div aria-hidden="true">{_scale(reading, translator)}</div>'
    )


def _ratio(reading: Reading) -> str:
    return f"A02/A00 = {reading.ratio:.3f}, the dashed streaks ±2 over the one at 0"


def _scale(reading: Reading, translator: Translator) -> str:
    """Draw number and interval on the axis of the training films; what is outside is cut off."""
    span = translator.highest - translator.lowest
    low, value, high = (
        min(max(100 * (x - translator.lowest) / span, 0), 100)
        for x in (reading.low, reading.stoichiometry, reading.high)
    )
    films = "".join(
        f'<i style="left: {100 * (content - translator.lowest) / span:.2f}%"></i>'
        for content in translator.contents
    )
    return (
        f'<div class="scale"><span style="left: {low:.2f}%; width: {high - low:.2f}%"></span>'
        f'{films}<b style="left: {value:.2f}%"></b></div><div class="ends">'
        f"<span>{translator.lowest:.1f}</span><span>the training films</span>"
        f"<span>{translator.highest:.1f}</span></div>"
    )


def _figure(image: np.ndarray, title: str, text: str, streaks: Iterable[float] = ()) -> str:
    uri = "data:image/png;base64," + base64.b64encode(pattern_png(image)).decode()
    lines = "".join(
        f'<span aria-hidden="true" style="left: {100 * place:.2f}%"><b>{order}</b></span>'
        for order, place in enumerate(streaks, start=-2)
        if 0 < place < 1
    )
    return (
        f'<figure><div class="frame"><img src="{uri}" '
        f'alt="{escape(f"{title}: RHEED pattern, {text}")}">{lines}</div>'
        f"<figcaption><strong>{escape(title)}</strong> {escape(text)}</figcaption></figure>"
    )


def _legend() -> str:
    from matplotlib.colors import to_hex

    stops = ", ".join(to_hex(_colour_map()(x)) for x in np.linspace(0, 1, N_LEGEND_COLOURS))
    return (
        '<p class="legend">0 '
        f'<span aria-hidden="true" style="background: linear-gradient(to right, {stops})"></span>'
        " intensity, to the brightest point of each pattern</p>"
    )


def _colour_map():
    from matplotlib import colormaps

    from repro.reporting import figures

    return colormaps[figures.STYLE["image.cmap"]]


def _table_row(row: Row) -> str:
    name = f'<th scope="row">{escape(row.name)}</th>'
    if row.reading is None:
        return (
            f'<tr>{name}<td>–</td><td>–</td><td>–</td><td class="bad">{escape(row.error)}</td></tr>'
        )
    read = row.reading
    doubt = '<span class="open">yes</span>' if read.is_doubtful else "no"
    return (
        f"<tr>{name}<td>{read.stoichiometry:.1f}</td><td>{read.low:.1f} to {read.high:.1f}</td>"
        f"<td>{doubt}</td><td>{escape(row.remark)}</td></tr>"
    )
