"""The page for growers, in a web browser: read an image, draw a pattern, read many files."""

from repro.studies.rheed_translator.page.server import serve

__all__ = ["serve"]
