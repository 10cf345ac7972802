"""The page for growers: read an image, draw a pattern, read many files into a table.

Streamlit runs this file anew at every visit, in the process that `serve` started. The page needs
no network and sends nothing anywhere.
"""

from __future__ import annotations

import errno
import math
import socket
import sys
import traceback
import webbrowser
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from importlib.util import find_spec
from pathlib import Path

from repro.errors import NotPossibleHere, ReproError
from repro.studies.rheed_translator import markup
from repro.studies.rheed_translator.predict import Translator
from repro.studies.rheed_translator.uploads import read_upload
from repro.study import Trained

ADDRESS = "127.0.0.1"
KINDS = "png, jpg, tif or npy, 8- or 16-bit"
STEP = 0.1  # of the slider [at.%]
BEYOND = 10.0  # how far outside the training films the slider goes at most [at.%]
PATIENCE = 2  # with open pages when the server is to end [s]
STOICHIOMETRIC = 50.0  # [at.%]
FONT = '-apple-system, BlinkMacSystemFont, "Segoe UI", Roboto, "Noto Sans", Arial, sans-serif'
THEME = {
    "primaryColor": "accent",
    "backgroundColor": "page",
    "secondaryBackgroundColor": "panel",
    "textColor": "ink",
    "borderColor": "line",
    "linkColor": "accent",
}
OPTIONS = {
    "browser.gatherUsageStats": False,
    "client.showErrorDetails": "none",
    "client.toolbarMode": "minimal",
    "logger.level": "warning",
    "server.address": ADDRESS,
    "server.fileWatcherType": "none",
    "server.headless": True,
    "server.maxUploadSize": 200,  # [MB]
    "theme.font": FONT,
}

_served: list[Translator] = []


def serve(open_trained: Callable[[], Trained], port: int = 8501, open_browser: bool = True) -> None:
    """Show a trained run's page to this machine's user until Ctrl-C.

    Parameters
    ----------
    open_trained : callable
        Opens the run; called once the page is known to be possible.
    port : int
        The port on this machine; 0 takes a free one.
    open_browser : bool
        Whether to open the page in the user's browser.

    Raises
    ------
    NotPossibleHere
        If Streamlit is not installed.
    ReproError
        If the port is taken, or the run is of a variant that has no page.
    """
    from repro.studies.rheed_translator.trained import translator_of

    serve_translator(lambda: translator_of(open_trained()), port, open_browser)


def serve_translator(open_it: Callable[[], Translator], port: int, open_browser: bool) -> None:
    """Show a translator's page until Ctrl-C; like `serve`, for any translator.

    Parameters
    ----------
    open_it : callable
        Returns the translator; called once the page is known to be possible.
    port, open_browser
        As in `serve`.
    """
    if find_spec("streamlit") is None:
        raise NotPossibleHere(
            "The page needs Streamlit, which is not installed: pip install '.[page]'."
        )
    with closing(_listen(port)) as listening:
        _served[:] = [open_it()]
        address = f"http://{ADDRESS}:{listening.getsockname()[1]}"
        _run(listening, lambda: _announce(address, open_browser))


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


def read_files(translator: Translator, files: Iterable[tuple[str, bytes]]) -> list[markup.Row]:
    """Read several files; one that cannot be read is named and does not stop the others.

    Parameters
    ----------
    translator : Translator
        The translator.
    files : iterable of (str, bytes)
        Names and contents.
    """
    return [_read_file(translator, name, content) for name, content in files]


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
    if file is None:
        return
    try:
        with st.spinner("Reading the image …"):
            upload = read_upload(file.name, file.getvalue())
            reading = translator.read(upload.image)
    except ReproError as error:
        st.html(markup.note(str(error), "error"))
    else:
        st.html(markup.reading_view(file.name, upload, reading, translator))


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
    if not files:
        return
    with st.spinner("Reading the images …"):
        rows = read_files(translator, ((file.name, file.getvalue()) for file in files))
    st.html(markup.table(rows, translator.level))
    st.download_button(
        "Download the table as CSV",
        markup.csv_text(rows),
        "stoichiometry.csv",
        "text/csv",
        on_click="ignore",
    )


def _read_file(translator: Translator, name: str, content: bytes) -> markup.Row:
    try:
        upload = read_upload(name, content)
        return markup.Row(name, translator.read(upload.image), upload.notices)
    except ReproError as error:
        return markup.Row(name, error=str(error))


def _listen(port: int) -> socket.socket:
    """Return a socket that listens on a port of this machine only."""
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((ADDRESS, port))
        listening.listen()
    except (OSError, OverflowError) as error:
        listening.close()
        taken = getattr(error, "errno", None) == errno.EADDRINUSE
        reason = "is in use" if taken else "cannot be opened"
        raise ReproError(f"Port {port} {reason}; choose another by --port.") from error
    return listening


def _run(listening: socket.socket, when_ready: Callable[[], None]) -> None:
    """Serve this file as a page on a socket until Ctrl-C."""
    import uvicorn
    from streamlit.starlette import App
    from streamlit.web.bootstrap import load_config_options

    load_config_options(OPTIONS | _theme())

    class Server(uvicorn.Server):
        async def startup(self, sockets=None):
            await super().startup(sockets)
            when_ready()

    app = App(Path(__file__).resolve())
    quiet = {"log_config": None, "access_log": False}
    server = Server(uvicorn.Config(app, timeout_graceful_shutdown=PATIENCE, **quiet))
    with suppress(KeyboardInterrupt):  # the way to end it
        server.run(sockets=[listening])


def _theme() -> dict[str, str]:
    """Return Streamlit's options for the report's colours, light and dark."""
    return {
        f"theme.{look}.{option}": palette[colour]
        for look, palette in zip(("light", "dark"), markup.colours(), strict=True)
        for option, colour in THEME.items()
    }


def _announce(address: str, open_browser: bool) -> None:
    sys.stdout.write(f"The page is at {address} (Ctrl-C ends it).\n")
    sys.stdout.flush()
    if open_browser:
        webbrowser.open(address)


if __name__ == "__main__":
    from repro.studies.rheed_translator import page

    page.show(page._served[0])
