"""Metrics by names that a reader understands; their keys stay what records and claims use.

A key such as ``held_out/image_to_image/pearson`` goes from the general to the special, and so does
its label. Only words that do not read by themselves stand in the table.
"""

from __future__ import annotations

import re

from repro.reporting.formatting import capitalised, superscript

WORDS = {
    "imag": "imaginary part",
    "mae": "mean absolute error",
    "mse": "mean square error",
    "pca": "PCA",
    "pearson": "correlation",
    "r2": "R²",
    "real": "real part",
    "rmse": "root mean square error",
    "ssim": "structural similarity",
}
UNITS = {"A": "Å", "at": "at.%"}
POWER_OF_TEN = re.compile(r"1e\+?(-?)0*(\d+)")


def metric_label(key: str) -> str:
    """Return a metric's label.

    Parameters
    ----------
    key : str
        The metric's key, or a claim's name of it: ``EXPERIMENT:KEY``, or with ``*`` at the end.
    """
    return capitalised(_words(key))


def order_label(keys: list[str]) -> str:
    """Return the label of metrics in falling order."""
    return capitalised(" > ".join(map(_words, keys)))


def _words(key: str) -> str:
    """Write a metric's key in words."""
    experiment, _, path = key.rpartition(":")
    parts = ", ".join(_part(part) for part in path.split("/") if part not in ("", "*"))
    return f"{parts} ({_part(experiment)})" if experiment else parts


def _part(part: str) -> str:
    """Write one part of a key in words."""
    words = part.removesuffix("*").split("_")
    return " ".join(map(_word, words, ["", *words])).strip()


def _word(word: str, before: str) -> str:
    """Write one word of a key; a letter after a number is a unit."""
    power = POWER_OF_TEN.fullmatch(word)
    if power:
        return f"10{superscript(int(power[1] + power[2]))}"
    if re.fullmatch(r"[\d.]+", before):
        return UNITS.get(word, word)
    if word.isdecimal():
        return str(int(word))
    return WORDS.get(word, word)
