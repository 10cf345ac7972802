"""What Streamlit runs anew at every visit: read an image, draw a pattern, read many files.

The page needs no network and sends nothing anywhere.
"""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable

from repro.errors import ReproError
from repro.studies.rheed_translator.page import markup, server
from repro.studies.rheed_translator.page.predict import Translator
from repro.studies.rheed_translator.page.readings import read_rows
from repro.studies.rheed_translator.page.uploads import Upload, read_upload, region

KINDS = "png, jpg, tif or npy, 8- or 16-bit"
LINEAR = "The numbers are proportional to the intensity: no gamma, no contrast was changed"
STEP = 0.1  # of the slider [at.%]
BEYOND = 10.0  # how far outside the training films the slider goes at most [at.%]
STOICHIOMETRIC = 50.0  # [at.%]


def show(translator: Translator) -> None:
    """Show the page of a translator to one visitor."""
    import streamlit as st

    st.set_page_config(page_title="RHEED and stoichiometry", layout="wide")
    st.html(markup.style())
    st.html(markup.masthead(translator))
    parts = {
        "Read an image": _read_one,
        "Draw a pattern": _draw,
        "Read many images": _read_several,
    }
    for tab, part in zip(st.tabs(list(parts)), parts.values(), strict=True):
        with tab:
            st.fragment(_guarded)(part, translator)  # a change in one part leaves the others alone
    st.html(markup.footnote(translator))


def slider_range(translator: Translator, beyond: bool) -> tuple[float, float]:
    """Return the ends of the slider [at.%], whole steps inside what may be drawn."""
    lowest, highest = translator.lowest, translator.highest
    if beyond:
        lowest, highest = max(0.0, lowest - BEYOND), min(100.0, highest + BEYOND)
    return round(math.ceil(lowest / STEP) * STEP, 1), round(math.floor(highest / STEP) * STEP, 1)


def _guarded(part: Callable[[Translator], None], translator: Translator) -> None:
    """Show a part; of a fault of ours the visitor hears in a sentence, the terminal in full."""
    import streamlit as st

    try:
        part(translator)
    except Exception:
        traceback.print_exc()
        sentence = "Something went wrong here; the terminal that serves this page says what."
        st.html(markup.note(sentence, "error"))


def _read_one(translator: Translator) -> None:
    import streamlit as st

    file = st.file_uploader(f"RHEED image ({KINDS})")
    is_linear = st.checkbox(LINEAR, key="linear image")
    if file is None and not st.checkbox("Show an example: a training film"):
        return
    try:
        name, upload = _example(translator) if file is None else _uploaded(file)
        upload = _region(upload)
        with st.spinner("Reading the image …"):
            reading = translator.read(upload.image, is_linear or upload.is_linear)
    except ReproError as error:
        st.html(markup.note(str(error), "error"))
    else:
        st.html(markup.reading_view(name, upload, reading, translator))


def _uploaded(file) -> tuple[str, Upload]:
    return file.name, read_upload(file.name, file.getvalue())


def _example(translator: Translator) -> tuple[str, Upload]:
    film = translator.nearest(STOICHIOMETRIC)
    notice = f"{film.name}: {film.stoichiometry:.1f} at.% Sr were measured, and learned from."
    return film.name, Upload(film.image, (notice,), is_linear=True)


def _region(upload: Upload) -> Upload:
    """Ask which part of an image shows the pattern, and return it."""
    import streamlit as st

    with st.expander("Use a part of the image only"):
        st.html(markup.note("Cut off what is no screen: scales, frames, text."))
        columns, rows = (
            st.slider(f"{name} used [%]", 0, 100, (0, 100), key=f"{name} used")
            for name in ("Columns", "Rows")
        )
    return region(upload, columns, rows)


def _draw(translator: Translator) -> None:
    import streamlit as st

    beyond = st.checkbox("Go beyond the range of the training films")
    lowest, highest = slider_range(translator, beyond)
    start = min(max(STOICHIOMETRIC, lowest), highest)
    label = "Sr content [at.% of the cations]"
    value = st.slider(label, lowest, highest, start, STEP, format="%.1f", key=f"beyond={beyond}")
    outside = not translator.lowest <= value <= translator.highest
    if outside:
        st.html(
            markup.note(
                f"{value:.1f} at.% is outside the training films, {translator.lowest:.1f} to "
                f"{translator.highest:.1f} at.%: nothing supports this pattern.",
                "warning",
            )
        )
    try:
        drawn = translator.draw(value, beyond=outside)
        nearest = translator.nearest(value)
    except ReproError as error:
        st.html(markup.note(str(error), "error"))
    else:
        st.html(markup.drawn_view(value, drawn, nearest, real=not translator.is_synthetic))


def _read_several(translator: Translator) -> None:
    import streamlit as st

    files = st.file_uploader(f"RHEED images ({KINDS})", accept_multiple_files=True)
    is_linear = st.checkbox(LINEAR, key="linear images")
    if not files:
        return
    with st.spinner("Reading the images …"):
        contents = [(file.name, file.getvalue()) for file in files]
        rows = [row for named in contents for row in read_rows(translator, *named, is_linear)]
    if len(rows) > 1:
        st.html(markup.course(rows, translator))
    st.html(markup.table(rows, translator.level))
    st.download_button(
        "Download the table as CSV",
        markup.csv_text(rows),
        "stoichiometry.csv",
        "text/csv",
        on_click="ignore",
    )


if __name__ == "__main__":
    show(server.translator())
