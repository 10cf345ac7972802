"""A run in slices: it stops in time with whole parts on disk, and goes on as if it never had."""

from __future__ import annotations

import contextlib
import json
import math
import shutil
import time
from dataclasses import replace

import h5py
import keras  # noqa: F401  loaded before time runs
import numpy as np
import pytest
from typer.testing import CliRunner

from repro import cli
from repro.display import SILENT
from repro.runs import budget, whole
from repro.runs.budget import BudgetTooShort, Slice, Stopped, training_so_far
from repro.runs.choices import Choices, Execution
from repro.runs.data import build_data
from repro.runs.run import Run
from repro.training.deadline import Deadline, TimeIsUp

pytestmark = pytest.mark.slow

EPOCHS = 4
LONG = {"recipe.epochs": str(EPOCHS)}


class AfterEpochs(Deadline):
    """A deadline that comes after so many questions whether there is time."""

    def __init__(self, epochs: int):
        super().__init__(math.inf)
        self._epochs = epochs

    def allows(self, seconds: float) -> bool:
        self._epochs -= 1
        return self._epochs > 0


@pytest.fixture(scope="module")
def data(springs, tmp_path_factory):
    """A built data set of springs."""
    choices = Choices(study=springs)
    file = tmp_path_factory.mktemp("built") / "data.h5"
    return build_data(choices.checked(), choices, file)


@pytest.fixture
def stop_after(monkeypatch):
    """Make every slice end after so many epochs."""

    def choose(epochs: int) -> None:
        monkeypatch.setattr(budget, "Deadline", lambda seconds: AfterEpochs(epochs))

    return choose


def weights(folder, seed=0, task="stiffness"):
    (path,) = (folder / f"seed-{seed}" / "networks" / task).glob("*.weights.h5")
    found = []
    with h5py.File(path) as file:
        file.visititems(lambda _, item: found.append(item[()]) if hasattr(item, "shape") else None)
    return found


def test_slices_on_copies_of_the_folder_end_at_the_weights_of_one_go(
    springs, data, tmp_path, stop_after, monkeypatch
):
    monkeypatch.setattr("repro.training.loop.WRITING_SHARE", 1e-6)  # states are written late
    choices = Choices(study=springs, settings=LONG | {"recipe.keep": "last"})
    record = whole.run(choices, [0, 1], tmp_path / "whole", data)
    stop_after(3)
    folder, slices = tmp_path / "run", []
    for number in range(5):
        slices.append(whole.run(choices, [0, 1], folder, data, Execution(budget_s=1000.0)))
        if not isinstance(slices[-1], Stopped):
            break
        elsewhere = tmp_path / f"other_machine_{number}" / "copy"
        shutil.copytree(folder, elsewhere)
        folder = elsewhere
    *stopped, ended = slices
    assert [s.done for s in stopped] == [3, 7], "an epoch that was trained was lost"
    for seed in (0, 1):
        np.testing.assert_equal(weights(folder, seed), weights(tmp_path / "whole", seed))
    assert ended.metrics == record.metrics


def test_what_is_left_is_told_in_one_line_with_the_measured_rate(
    springs, data, tmp_path, stop_after
):
    stop_after(1)
    choices = Choices(study=springs, settings=LONG)
    stopped = whole.run(choices, [0, 1], tmp_path / "run", data, Execution(budget_s=1000.0))
    assert (stopped.stage, stopped.done, stopped.total) == ("training", 1, 2 * EPOCHS)
    (seconds,) = Run.open(tmp_path / "run", data).history(0, "stiffness")["seconds"]
    assert stopped.seconds_left == pytest.approx((2 * EPOCHS - 1) * seconds)
    assert f"1 of {2 * EPOCHS} epochs" in stopped.said
    assert "same command" in stopped.said
    assert "\n" not in stopped.said
    assert not (tmp_path / "run" / "record.json").exists()


def test_a_network_without_epochs_is_reckoned_by_the_others(decays, tmp_path, stop_after):
    choices, folder = Choices(study=decays), tmp_path / "run"
    build_data(choices.checked(), choices, folder / "data.h5")
    stop_after(2)
    whole.run(choices, [0], folder, execution=Execution(budget_s=1000.0))
    done, total, left = training_so_far(Run.open(folder))
    (*_, last) = Run.open(folder).history(0, "background")["seconds"]
    assert (done, total) == (2, 7)
    assert left > last, "four epochs of the second network cost nothing"


def test_a_budget_too_short_for_an_epoch_is_refused_with_what_it_takes(springs, tmp_path):
    settings = {"train": "20000", "recipe.batch_size": "1"}
    choices, folder = Choices(study=springs, settings=settings), tmp_path / "run"
    data = build_data(choices.checked(), choices, tmp_path / "data.h5")
    budget_s = budget.TO_END_S + 2.5
    start = time.monotonic()
    with pytest.raises(BudgetTooShort, match=r"no epoch .* takes --time-budget \d+0;"):
        whole.run(choices, [0], folder, data, Execution(budget_s=budget_s))
    assert time.monotonic() - start < budget_s
    assert not (folder / "record.json").exists(), "the run has not failed"


def test_data_are_built_in_slices_and_their_time_adds_up(springs, tmp_path, monkeypatch):
    choices = Choices(study=springs, settings=LONG | {"train": "320"})
    one_go = whole.prepare_and_train(choices, [0], tmp_path / "whole")
    monkeypatch.setattr(budget, "Deadline", lambda seconds: AfterEpochs(4))
    folder = tmp_path / "run"
    first = whole.run(choices, [0], folder, execution=Execution(budget_s=1000.0))
    assert (first.stage, first.total) == ("data", 352)
    assert 0 < first.done < 352
    assert "samples built" in first.said
    before = float((folder / "data.seconds").read_text())
    monkeypatch.undo()
    made = whole.prepare_and_train(choices, [0], folder)
    assert made.dataset.checksum == one_go.dataset.checksum
    assert float((folder / "data.seconds").read_text()) > before


def test_an_evaluation_that_does_not_fit_is_left_to_the_next_slice(
    springs, data, tmp_path, monkeypatch
):
    choices = Choices(study=springs)

    def evaluate_too_long(*arguments):
        raise TimeIsUp

    with monkeypatch.context() as patch:
        patch.setattr(whole, "evaluate", evaluate_too_long)
        stopped = whole.run(choices, [0], tmp_path / "run", data, Execution(budget_s=1000.0))
        assert stopped.stage == "evaluation"
        with pytest.raises(BudgetTooShort, match="no evaluation"):
            whole.run(choices, [0], tmp_path / "run", data, Execution(budget_s=1000.0))
    record = whole.run(choices, [0], tmp_path / "run", data, Execution(budget_s=1000.0))
    assert record.status == "ok"


def sleep_like_a_library_that_swallows_errors():
    with Deadline(0.05).enforced():
        with contextlib.suppress(TimeIsUp):
            time.sleep(10)
        time.sleep(10)


def test_time_that_is_up_before_the_training_is_told_from_what_is_on_disk(
    springs, data, tmp_path, stop_after
):
    choices = Choices(study=springs, settings=LONG)
    slice_ = Slice(choices, tmp_path / "run", 1000.0)
    stop_after(2)
    whole.run(choices, [0], tmp_path / "run", data, Execution(budget_s=1000.0))
    run = replace(Run.open(tmp_path / "run", data))
    stopped = slice_.stopped(run)
    assert (stopped.done, stopped.total, stopped.seconds_left) == (2, None, None)
    assert "with 2 epochs trained" in stopped.said
    assert "tasks" not in vars(run), "to list them reads the whole data set, for which time is up"


def test_time_that_is_up_ends_whatever_is_done():
    start = time.monotonic()
    with pytest.raises(TimeIsUp):
        sleep_like_a_library_that_swallows_errors()
    assert time.monotonic() - start < 5
    with Deadline(0.05).enforced():
        pass
    time.sleep(0.1)  # nothing rings after the work is done


def test_work_of_several_processes_stops_while_it_can_still_end(tmp_path, springs):
    slice_ = Slice(Choices(study=springs), tmp_path, budget.TO_END_S + 1.0)
    with contextlib.suppress(TimeIsUp), slice_.shown(SILENT, workers=2).bar("data") as progress:
        for done in range(30):
            progress(done, 30)
            time.sleep(0.05)
    assert slice_.deadline.left > 0.1, "shards that work when time is up end after it"


def test_the_command_prints_what_is_left_and_succeeds(springs, data, tmp_path, stop_after):
    stop_after(1)
    command = ["run", springs, "--data", str(data), "--out", str(tmp_path / "run"), "--quiet"]
    command += ["--set", f"recipe.epochs={EPOCHS}", "--time-budget", "1000"]
    ran = CliRunner().invoke(cli.app, command)
    assert ran.exit_code == 0, ran.stderr
    assert "1 of 4 epochs trained" in ran.stdout
    ran = CliRunner().invoke(cli.app, [*command, "--json"])
    facts = json.loads(ran.stdout)
    assert (facts["status"], facts["stage"], facts["done"]) == ("stopped", "training", 2)
    ran = CliRunner().invoke(cli.app, ["train", *command[1:]])
    assert "3 of 4 epochs trained" in ran.stdout


def test_a_budget_that_is_too_short_is_wrong_use(springs, data, tmp_path):
    command = ["run", springs, "--data", str(data), "--out", str(tmp_path / "run"), "--quiet"]
    ran = CliRunner().invoke(cli.app, [*command, "--time-budget", "1"])
    assert ran.exit_code == 2
    assert "--time-budget 1" in ran.stderr
    assert "Traceback" not in ran.stderr
