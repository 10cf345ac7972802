"""The server of the page for growers: one trained run, on this machine only, until Ctrl-C."""

from __future__ import annotations

import errno
import socket
import sys
import webbrowser
from collections.abc import Callable
from contextlib import closing, suppress
from importlib.util import find_spec
from pathlib import Path

from repro.errors import NotPossibleHere, ReproError
from repro.studies.rheed_translator.page import markup
from repro.studies.rheed_translator.page.predict import Translator
from repro.study import Trained

ADDRESS = "127.0.0.1"
PAGE = Path(__file__).with_name("app.py")
PATIENCE = 2  # with open pages when the server is to end [s]
FONT = '-apple-system, BlinkMacSystemFont, "Segoe UI", Roboto, "Noto Sans", Arial, sans-serif'
THEME = {
    "primaryColor": "accent",
    "backgroundColor": "page",
    "secondaryBackgroundColor": "panel",
    "textColor": "ink",
    "borderColor": "line",
    "linkColor": "accent",
}
OPTIONS = {  # they outrank those of the user's own Streamlit
    "browser.gatherUsageStats": False,
    "browser.serverAddress": "localhost",
    "client.showErrorDetails": "none",
    "client.toolbarMode": "minimal",
    "logger.level": "warning",
    "server.address": ADDRESS,
    "server.baseUrlPath": "",
    "server.enableCORS": True,
    "server.enableXsrfProtection": True,
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

    def open_it() -> Translator:
        from repro.studies.rheed_translator.page.trained import translator_of

        return translator_of(open_trained())

    serve_translator(open_it, port, open_browser)


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


def translator() -> Translator:
    """Return the translator that this process serves."""
    return _served[0]


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
    """Serve the page on a socket until Ctrl-C."""
    import uvicorn
    from streamlit.starlette import App
    from streamlit.web.bootstrap import load_config_options

    load_config_options(OPTIONS | _theme())

    class Server(uvicorn.Server):
        async def startup(self, sockets=None):
            await super().startup(sockets)
            when_ready()

    app = App(PAGE)
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
