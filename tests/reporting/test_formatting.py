import math
from typing import get_args

import pytest

from repro.evaluation.outcomes import Status
from repro.reporting import formatting as write


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.12404, "0.1240"),
        (9.9999, "10.00"),
        (-3.2, "−3.200"),
        (0, "0"),
        (123456.7, "123\u202f457"),
        (1e-7, "1.000×10⁻⁷"),
        (2.5e9, "2.500×10⁹"),
        (math.nan, "not a number"),
        (-math.inf, "−∞"),
        (None, "–"),
    ],
)
def test_numbers(value, text):
    # A wrong digit or a raw 'nan' would stand in the page and the README.
    assert write.number(value) == text


@pytest.mark.parametrize(
    ("value", "interval", "text"),
    [
        (0.12417, (0.1233, 0.12504), "0.12417 ± 0.00087"),
        (12.3, (11.3, 13.3), "12.3 ± 1.0"),
        (1234.5, (1000.0, 1469.0), "1234 ± 234"),
        (0.5, (0.5, 0.5), "0.5000 ± 0"),
        (0.8342, None, "0.8342"),
        (None, None, "–"),
        (math.nan, (math.nan, math.nan), "not a number"),
        (1.0, (1 - 1e-16, 1 + 2e-16), "1.000 ± 0"),
        (1e7, (9e6, 1.1e7), "1.000×10⁷ ± 1.0×10⁶"),
    ],
)
def test_estimates_stop_at_the_intervals_second_digit(value, interval, text):
    # More digits would claim more than the seeds can tell.
    assert write.estimate(value, interval) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.8342, "0.8342"), (80.0, "80"), (0.0014, "0.0014"), (None, "–")]
)
def test_papers_numbers_keep_their_digits(value, text):
    # The paper's 0.124 must not become 0.1240.
    assert write.reported_number(value) == text


def test_every_outcome_has_its_own_sign():
    # An outcome that shares its sign or has none is lost without colour.
    words = get_args(Status)
    assert set(write.STATUSES) == set(words)
    assert len({status.symbol for status in write.STATUSES.values()}) == len(words)


def test_small_words():
    # Grammar of the page's sentences.
    assert write.count(1, "seed") == "1 seed"
    assert write.count(3, "seed") == "3 seeds"
    assert write.sentence_list(["a", "b", "c"]) == "a, b and c"
    assert [write.duration(t) for t in (None, 3.25, 59, 61, 4000)] == [
        "–",
        "3.2 s",
        "59 s",
        "1 min",
        "1 h 07 min",
    ]
    assert write.large(8.7e9, "FLOP") == "8.7 GFLOP"
    assert write.large(None) == "not counted"
    assert write.with_unit("3.9", "Å") == "3.9 Å"
    assert write.with_unit("3.9", "1") == "3.9"
