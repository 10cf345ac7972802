"""Numbers, times and outcomes as text, the same in the page, the README and the terminal."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from markupsafe import Markup, escape

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # how one begins in a spreadsheet
MISSING = "–"
ROUNDING = 1e-12  # relative; values of several seeds that differ by less are the same


@dataclass(frozen=True)
class Status:
    """An outcome's word with a sign that reads without colour, and what it means."""

    word: str
    symbol: str
    style: str
    meaning: str


STATUSES = {
    status.word: status
    for status in (
        Status(
            "holds",
            "✓",
            "green",
            "Our result agrees with the paper within a margin fixed before the run, with 95 % "
            "confidence. At the paper's scale, with nothing that differs, the verdict is "
            "“reproduced”.",
        ),
        Status(
            "better",
            "▲",
            "green",
            "Our result is better than the paper's by more than the margin.",
        ),
        Status(
            "falls short",
            "▼",
            "red",
            "Our result is worse than the paper's by more than the margin. At the paper's scale, "
            "with nothing that differs, the verdict is “below”.",
        ),
        Status(
            "open",
            "?",
            "yellow",
            "Our results scatter too widely to tell; the reason says how many more seeds or test "
            "samples it takes.",
        ),
        Status("not run", "○", "dim", "No run answers this claim yet; the reason says why."),
    )
}


def number(value: float | None, digits: int = 4) -> str:
    """Write a number with so many significant digits, or a dash for none.

    Parameters
    ----------
    value : float or None
        The number.
    digits : int
        Significant digits.
    """
    if value is None:
        return MISSING
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else f"{'−' if value < 0 else ''}∞"
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(abs(float(f"{value:.{digits - 1}e}"))))
    if -5 < exponent < 6:
        return minus(f"{value:,.{max(0, digits - 1 - exponent)}f}".replace(",", "\u202f"))
    mantissa, power = f"{value:.{digits - 1}e}".split("e")
    return minus(f"{mantissa}×10{superscript(int(power))}")


def reported_number(value: float | None) -> str:
    """Write a paper's number as the claims file has it: no digit added, none dropped."""
    if value is None:
        return MISSING
    text = repr(float(value))
    if "e" in text or not math.isfinite(value):
        return number(value, 3)
    return minus(text.removesuffix(".0"))


def superscript(power: int) -> str:
    """Write an integer in raised digits."""
    return str(power).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def minus(text: str) -> str:
    """Put the true minus sign for the hyphen in front of a number."""
    return text.replace("-", "−", 1) if text.startswith("-") else text


def estimate(value: float | None, interval: tuple[float, float] | None) -> str:
    """Write a mean with its 95 % interval, both to the interval's second digit.

    Parameters
    ----------
    value : float or None
        The mean.
    interval : tuple or None
        Lower and upper end; none leaves the mean alone.
    """
    if value is None or interval is None:
        return number(value)
    return plus_minus(value, (interval[1] - interval[0]) / 2)


def plus_minus(value: float, half_width: float) -> str:
    """Write a number and what it is uncertain by, both to the uncertainty's second digit."""
    if not (math.isfinite(value) and math.isfinite(half_width)):
        return number(value)
    if half_width <= ROUNDING * abs(value):
        return f"{number(value)} ± 0"
    exponent = math.floor(math.log10(float(f"{half_width:.1e}")))
    if -5 < exponent < 6 and abs(value) < 1e6:
        decimals = max(0, 1 - exponent)
        return f"{minus(f'{value:.{decimals}f}')} ± {half_width:.{decimals}f}"
    return f"{number(value)} ± {number(half_width, 2)}"


def half_width(value: float) -> str:
    """Write half the width of an interval, to its second digit."""
    return number(value, 2)


def with_unit(text: str, unit: str) -> str:
    """Add a unit, unless there is none or the number is a pure one."""
    return text if unit in ("", "1") or text == MISSING else f"{text} {unit}"


def count(n: int, noun: str, plural: str | None = None) -> str:
    """Write a number of things: ``1 seed``, ``3 seeds``."""
    return f"{n} {noun if n == 1 else plural or noun + 's'}"


def integer(value: int) -> str:
    """Write a whole number, its digits in threes."""
    return f"{value:,}".replace(",", "\u202f")


def large(value: float | None, unit: str = "") -> str:
    """Write a large number with a metric prefix: ``8.70 GFLOP``, ``2.54 M``."""
    if value is None:
        return "not counted"
    if value < 10_000 and not unit:
        return number(value, max(1, len(str(int(value)))))
    for power, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= power:
            return f"{value / power:.3g} {prefix}{unit}"
    return f"{value:.3g} {unit}".strip()


def duration(seconds: float | None) -> str:
    """Write a time in the units a reader thinks in."""
    if seconds is None:
        return MISSING
    if seconds < 60:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def sentence_list(parts: list[str]) -> str:
    """Join parts as in a sentence: ``a``, ``a and b``, ``a, b and c``."""
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} and {parts[-1]}"


def readable(name: str) -> str:
    """Turn a name such as ``worst_cases`` into words."""
    return capitalised(" ".join(name.replace("_", " ").replace("-", " ").split()))


def capitalised(text: str) -> str:
    """Write a text with a capital first letter, the others as they are."""
    return text[:1].upper() + text[1:]


def uncapitalised(text: str) -> str:
    """Write a text with a small first letter, unless it is an acronym or a symbol such as R²."""
    return text[:1].lower() + text[1:] if text[1:2].islower() else text


def unbroken(text: str) -> str:
    """Keep a number on one line with its percent sign and its other digits."""
    return re.sub(r"(?<=\d) (?=%|\d{3}\b)", "\u00a0", text)


def breakable(key: str) -> Markup:
    """Let a key break after a slash or underscore, and nowhere else."""
    return Markup(re.sub(r"([/_]+)(?=.)", r"\1<wbr>", str(escape(key))))


def spreadsheet_text(text: str) -> str:
    """Return a text for a table's cell; one that would be taken for a formula gets a quote."""
    return f"'{text}" if text.startswith(FORMULA) else text
