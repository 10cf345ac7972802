"""A network that reads another's answers is trained after it, resumed, and bound to its weights."""

from __future__ import annotations

import json
import shutil

import h5py
import numpy as np
import pytest

from repro.errors import ReproError
from repro.runs import whole
from repro.runs.choices import Choices
from repro.runs.evaluation import evaluate
from repro.runs.run import Run
from repro.study import get_study

pytestmark = pytest.mark.slow

FIRST, SECOND = "background", "time_constant"


@pytest.fixture(scope="module")
def finished(decays, tmp_path_factory):
    """The folder of a whole run, two seeds."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    whole.run(Choices(study=decays), [0, 1], folder)
    return folder


@pytest.fixture
def copied(finished, tmp_path):
    """A copy of that run, to be played with."""
    return shutil.copytree(finished, tmp_path / "run")


def kept(folder, task, seed=0):
    """Return the file of a network's weights."""
    (path,) = (folder / f"seed-{seed}" / "networks" / task).glob("best*.weights.h5")
    return path


def weights(folder, task, seed=0):
    with h5py.File(kept(folder, task, seed)) as file:
        found = []
        file.visititems(
            lambda name, item: found.append(item[()]) if hasattr(item, "shape") else None
        )
    return found


def forget(folder, task, seed=0):
    shutil.rmtree(folder / f"seed-{seed}" / "networks" / task)


def train_again(folder):
    choices = Choices(study="decays")
    return whole.prepare_and_train(choices, [0, 1], folder, folder / "data.h5")


def test_the_second_network_sees_what_the_first_one_of_its_seed_answers(finished):
    run = Run.open(finished)
    signal, rows = run.dataset.array("signal"), run.dataset.rows("test")
    seen = []
    for seed in run.seeds:
        trained = run.trained(seed)
        answer = trained.models[FIRST].predict(signal, batch_size=len(signal), verbose=0)
        x, _ = trained.tasks[SECOND].load(rows)
        np.testing.assert_array_equal(x, (signal - answer)[rows])
        seen.append(x)
    assert not np.array_equal(*seen), "two seeds read the same network"


def test_which_task_needs_which_is_part_of_the_run(finished):
    stated = json.loads((finished / "seed-0" / "run.json").read_text(encoding="utf-8"))
    assert stated["needs"] == {SECOND: [FIRST]}


def test_killed_between_the_stages_and_resumed_gives_the_same_weights(copied, monkeypatch):
    expected = weights(copied, SECOND)
    forget(copied, SECOND)
    before = kept(copied, FIRST).stat().st_mtime_ns
    train_again(copied)
    np.testing.assert_equal(weights(copied, SECOND), expected)
    assert kept(copied, FIRST).stat().st_mtime_ns == before, "the first network was trained anew"


def test_a_second_network_is_not_used_with_a_first_one_it_was_not_trained_on(copied):
    forget(copied, FIRST)
    networks = copied / "seed-0" / "networks"
    shutil.copytree(copied / "seed-1" / "networks" / FIRST, networks / FIRST)
    before = (copied / "record.json").read_bytes()
    with pytest.raises(ReproError, match=f"{SECOND}.*{FIRST}"):
        evaluate(Run.open(copied))
    assert (copied / "record.json").read_bytes() == before


def test_a_task_that_needs_one_listed_after_it_is_refused(decays, finished, monkeypatch):
    study = get_study(decays)
    tasks = study.provided("tasks")

    def reversed_tasks(*arguments):
        return tasks(*arguments)[::-1]

    recipe = f"{study.package}.recipe.tasks"
    monkeypatch.setattr(recipe, reversed_tasks)
    with pytest.raises(ReproError, match=f"{SECOND} needs {FIRST}"):
        Run.open(finished).tasks  # noqa: B018


def test_the_recipe_of_a_later_stage_is_the_one_that_was_chosen(decays, finished, tmp_path):
    choices = Choices(study=decays, settings={"recipe.epochs": "1"})
    run = whole.prepare_and_train(choices, [0], tmp_path / "run", finished / "data.h5")
    assert [len(run.history(0, name)["loss"]) for name in (FIRST, SECOND)] == [1, 1]
    given = run.trained(0).tasks[SECOND]
    assert (given.name, given.recipe.epochs, given.needs) == (SECOND, 1, (FIRST,))
