"""What is told of a run before it starts."""

from __future__ import annotations

import pytest

from repro.display import Display
from repro.runs.choices import Choices
from repro.runs.data import build_data, duration
from repro.study import get_study


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (45, "about 45 seconds"),
        (90, "about 90 seconds"),
        (120, "about 2 minutes"),
        (45 * 60, "about 45 minutes"),
        (90 * 60, "about 90 minutes"),
        (5 * 3600, "about 5 hours"),
        (3 * 86400, "about 3 days"),
    ],
)
def test_times_are_told_in_the_unit_that_a_reader_thinks_in(seconds, words):
    assert duration(seconds) == words


class Notes(Display):
    """Keeps what is announced."""

    def __init__(self):
        self.texts = []

    def announce(self, text):
        self.texts.append(text)


@pytest.mark.parametrize(
    ("per_sample", "texts"),
    [(10.0, ["data springs smoke: about 16 minutes on this machine"]), (0.1, [])],
)
def test_only_a_long_build_is_told_of_before_it_begins(
    springs, tmp_path, monkeypatch, per_sample, texts
):
    choices, notes = Choices(study=springs), Notes()
    monkeypatch.setattr(
        f"{get_study(springs).package}.simulate.seconds_per_sample", lambda p: per_sample
    )
    build_data(choices, tmp_path / "data.h5", display=notes)
    assert notes.texts == texts
