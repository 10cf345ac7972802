"""Two codes timed in turns: a step that got a tenth slower is seen, and one that did not is not."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from repro.bench.turns import (
    TENTH,
    Turn,
    Turns,
    held_together,
    is_enough,
    judged,
    time_in_turns,
)
from repro.cli import app
from repro.errors import ReproError

ROOT = Path(__file__).parents[2]
# `repro bench turns` of a commit with itself on a machine that others kept busy: ratios by row.
MEASURED = json.loads((Path(__file__).parent / "turns_of_one_code.json").read_text())["ratios"]
ROUNDS, N_PAIRS, ENOUGH = 40, 400, 0.95


def drawn(seed, factor=1.0):
    """Return ratios of one code in as many rounds as it takes, B being some times as slow."""
    rng = np.random.default_rng(seed)
    known = np.log(rng.choice(list(MEASURED.values())))
    logs = []
    while not is_enough(logs, ROUNDS):
        logs.append(np.log(factor) + rng.choice(known) * rng.choice([-1, 1]))
    return np.exp(logs)


def test_a_step_a_tenth_slower_is_caught_and_one_code_passes():
    slower = [judged(drawn(seed, TENTH))[-1] for seed in range(N_PAIRS)]
    assert np.mean([result == "slower" for result in slower]) >= ENOUGH
    same = [judged(drawn(seed))[-1] for seed in range(N_PAIRS)]
    assert np.mean([result == "no difference" for result in same]) >= ENOUGH


def test_a_quiet_machine_takes_the_rounds_asked_for_and_a_busy_one_up_to_five_times_as_many():
    rng = np.random.default_rng(0)
    assert is_enough(list(rng.normal(0, 0.02, ROUNDS)), ROUNDS)
    assert not is_enough(list(rng.normal(0, 0.02, ROUNDS - 1)), ROUNDS)
    assert not is_enough(list(rng.normal(0, 3, 5 * ROUNDS - 1)), ROUNDS)
    assert is_enough(list(rng.normal(0, 3, 5 * ROUNDS)), ROUNDS)


def test_what_could_not_be_seen_is_undecided_and_not_passed_over():
    assert judged([1.0, 1.0, 1.01, 0.99])[-1] == "no difference"
    assert judged([0.7, 1.5, 1.0])[-1] == "undecided"
    assert judged([1.3])[-1] == "undecided"
    assert judged([1 / TENTH] * 3)[-1] == "faster"
    mean, low, high, _ = judged([2.0, 0.5, 2.0, 0.5])
    assert mean == pytest.approx(1)
    assert low == pytest.approx(1 / high)


def test_only_ratios_within_a_round_count():
    # The machine got three times slower from the first round to the last; the code did not.
    same, slower = (
        held_together("x", [(slow, factor * slow) for slow in (0.1, 0.2, 0.3)])
        for factor in (1, TENTH)
    )
    assert (same.result, same.slowdown) == ("no difference", pytest.approx(1))
    assert (slower.result, slower.fails) == ("slower", True)
    assert slower.ratios == pytest.approx([TENTH] * 3)
    assert slower.seconds == pytest.approx((0.2, 0.22))


def test_a_lost_network_fails():
    lost = Turn("x", (None, None), None, None, None, "lost")
    assert Turns((lost,), 3).exit_status == 1
    assert "FAILS: lost" in Turns((lost,), 3).page()
    assert Turns((replace(lost, result="new"),), 3).exit_status == 0


def test_wrong_use_is_told_before_anything_is_timed(tmp_path):
    with pytest.raises(ReproError, match="no checkout"):
        time_in_turns(tmp_path, [], "data", 3)
    with pytest.raises(ReproError, match="rounds"):
        time_in_turns(ROOT, [], "data", 2)


@pytest.mark.slow
def test_a_planted_delay_is_found_between_two_checkouts(tmp_path):
    other = tmp_path / "other"
    unmade = shutil.ignore_patterns("__pycache__")
    for name in ("repro", "data_specs"):
        shutil.copytree(ROOT / name, other / name, ignore=unmade)
    file = other / "repro" / "bench" / "subject.py"
    text = file.read_text(encoding="utf-8")
    made = "(1 for _ in whole.shares(0, 1, len(whole) - n))"
    assert made in text
    delayed = made.replace("1 for", "__import__('time').sleep(0.05) or 1 for")
    file.write_text(text.replace(made, delayed), encoding="utf-8")
    words = ["mamba", "--variant", "improved", "--preset", "smoke", "--phase", "data"]
    done = CliRunner().invoke(
        app, ["bench", "turns", str(other), *words, "--rounds", "5", "--json", "--quiet"]
    )
    (row,) = json.loads(done.stdout)["rows"]
    assert row["seconds"][0] - row["seconds"][1] > 0.03
    assert (row["result"], done.exit_code) == ("faster", 0), "A had the delay"
