"""What is told of a run before it starts."""

from __future__ import annotations

import pytest

from repro.display import Display
from repro.runs.choices import Choices
from repro.runs.data import build_data
from repro.study import get_study


class Notes(Display):
    """Keeps what is announced."""

    def __init__(self):
        self.texts = []

    def announce(self, text):
        self.texts.append(text)


@pytest.mark.parametrize(
    ("per_sample", "texts"),
    [(10.0, ["data springs smoke: about 16 min on this machine"]), (0.1, [])],
)
def test_only_a_long_build_is_told_of_before_it_begins(
    springs, tmp_path, monkeypatch, per_sample, texts
):
    choices, notes = Choices(study=springs), Notes()
    monkeypatch.setattr(
        f"{get_study(springs).package}.simulate.seconds_per_sample",
        lambda parameters, workers: per_sample,
    )
    build_data(get_study(springs), choices, tmp_path / "data.h5", display=notes)
    assert notes.texts == texts
