"""The ledger as the report shows it, made of the ledger that is committed."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from repro.evaluation.regression import FLOOR
from repro.reporting.courses import HEIGHT, SPEED, WIDTH, history_view
from repro.reporting.history import read_history
from repro.reporting.report import render

ROOT = Path(__file__).parents[2]
NAME = "strain_ae-improved-desk"
METRIC = "new_noise/displacement"


@pytest.fixture(scope="module")
def ledger():
    return read_history(ROOT / "results")


def planted(ledger, factor, **changes):
    """Return the ledger with a last entry whose metric is some times what it was."""
    last = [entry for entry in ledger if entry.name == NAME][-1]
    metrics = last.metrics | {METRIC: factor * last.metrics[METRIC]}
    told = {"reason": "Discs are found by another rule", "commit": "abc1234"}
    return [*ledger, last.model_copy(update={"metrics": metrics, **told, **changes})]


def plot_of(ledger, key=METRIC):
    (study,) = [one for one in history_view(ledger) if one.study == "strain_ae"]
    return study, next(plot for plot in study.plots if plot.key == key)


def test_every_metric_that_was_accepted_twice_is_drawn_and_every_entry_is_listed(ledger):
    shown = {study.study: study for study in history_view(ledger)}
    assert set(shown) == {entry.study for entry in ledger}
    for name, study in shown.items():
        own = [entry for entry in ledger if entry.study == name]
        figures = Counter((e.name, e.machine, key) for e in own for key in e.metrics)
        again = {key for (_, _, key), n in figures.items() if n > 1}
        assert {plot.key for plot in study.plots} - {SPEED} == again
        listed = [name for one in study.acceptances for name, _ in one.records]
        assert sorted(listed) == sorted(entry.name for entry in own)


@pytest.mark.parametrize(("factor", "sign"), [(1.1, "+"), (0.9, "−")])
def test_a_planted_step_is_drawn_told_and_leads_to_its_reason(ledger, factor, sign):
    study, plot = plot_of(planted(ledger, factor))
    first = plot.moves[0]
    assert NAME in first.text
    assert f"{sign}10\N{NO-BREAK SPACE}%" in first.text
    reached = study.acceptances[first.acceptance - 1]
    assert (reached.reason, reached.commit) == ("Discs are found by another rule", "abc1234")
    line = next(line for line in plot.lines if NAME in line.about.split(":")[0])
    heights = [float(y) for y in re.findall(r" ([\d.]+)", line.path)]
    assert (heights[-1] < heights[-2]) == (factor > 1), "larger values are drawn higher"


def test_what_stays_is_level_and_no_step_is_told(ledger):
    _, plot = plot_of(planted(ledger, 1 + 1e-9))
    assert all(abs(float(re.search(r"([\d.]+)\s%", m.text)[1])) > 100 * FLOOR for m in plot.moves)
    assert not any(NAME + " " in m.text and m.acceptance == len(ledger) for m in plot.moves)
    points = [line.path for line in plot.lines if line.about.startswith(f"{NAME}:")]
    assert any(path.count(f" {HEIGHT / 2:.3g}") >= 2 for path in points)


def test_kinds_of_machines_are_kept_apart(ledger):
    # A run on another processor is no step of the line before.
    elsewhere = planted(ledger, 1.5, machine="another processor")
    study, plot = plot_of(elsewhere)
    assert not any("+50\N{NO-BREAK SPACE}%" in move.text for move in plot.moves)
    assert "another processor" in study.machines
    assert not any("another processor" in line.about for line in plot.lines)


def test_no_line_leaves_its_plot(ledger):
    for study in history_view(planted(ledger, 40.0)):
        for line in (line for plot in study.plots for line in plot.lines):
            for x, y in re.findall(r"([\d.-]+) ([\d.-]+)", line.path):
                assert 0 <= float(x) <= WIDTH
                assert 0 <= float(y) <= HEIGHT


def test_the_page_shows_the_ledger_and_no_section_without_one(ledger, gallery):
    folder, entries, studies = gallery
    page = render(entries, studies, folder, history=planted(ledger, 1.1))
    section = page[page.index('<section id="history"') :].split("</section>")[0]
    assert "Discs are found by another rule" in section
    assert "abc1234" in section
    assert section.count('<svg class="course"') > 20
    for target in re.findall(r'href="#(accepted[^"]+)"', section):
        assert f'id="{target}"' in section
    assert 'id="history"' not in render(entries, studies, folder)
