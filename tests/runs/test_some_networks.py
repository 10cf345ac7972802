"""Some networks trained alone are those of the whole run, and say so wherever their record goes."""

from __future__ import annotations

import json
import shutil

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner

from repro import cli
from repro.errors import ReproError
from repro.evaluation.outcomes import judge
from repro.evaluation.records import read_record
from repro.runs import whole
from repro.runs.choices import Choices
from repro.runs.merging import merge
from repro.runs.queue import has_networks
from repro.runs.run import Run, chosen
from repro.study import get_study

pytestmark = pytest.mark.slow

FIRST, SECOND = "background", "time_constant"


@pytest.fixture(scope="module")
def both(decays, tmp_path_factory):
    """The folder of a whole run."""
    folder = tmp_path_factory.mktemp("both") / "run"
    whole.run(Choices(study=decays, preset="desk"), [0], folder)
    return folder


@pytest.fixture(scope="module")
def one(decays, both, tmp_path_factory):
    """The folder of a run of the first network alone, on the same data."""
    folder = tmp_path_factory.mktemp("one") / "run"
    whole.run(
        Choices(study=decays, preset="desk", networks=("back*",)), [0], folder, both / "data.h5"
    )
    return folder


def weights(folder, task):
    (path,) = (folder / "seed-0" / "networks" / task).glob("best*.weights.h5")
    with h5py.File(path) as file:
        found = []
        file.visititems(lambda _, item: found.append(item[()]) if hasattr(item, "shape") else None)
    return found


def test_a_network_alone_is_the_one_of_the_whole_run(one, both):
    assert [path.name for path in (one / "seed-0" / "networks").iterdir()] == [FIRST]
    np.testing.assert_equal(weights(one, FIRST), weights(both, FIRST))
    alone, together = (read_record(f / "record.json") for f in (one, both))
    assert alone.metrics.keys() == {"background"}
    assert alone.metrics["background"] == together.metrics["background"]


def test_its_record_says_which_networks_it_is_of(one, both):
    alone, together = (read_record(f / "record.json") for f in (one, both))
    assert (alone.chosen_networks, together.chosen_networks) == (["back*"], [])
    assert "--networks 'back*'" in alone.command
    assert alone.hashes.configuration != together.hashes.configuration


def test_a_network_comes_with_those_it_needs(both):
    tasks = list(Run.open(both).tasks.values())
    assert [task.name for task in chosen(tasks, [SECOND])] == [FIRST, SECOND]


def test_a_run_of_all_networks_says_nothing_of_a_choice(both):
    assert "networks" not in Choices(study="decays").model_dump()
    assert '"networks"' not in (both / "seed-0" / "run.json").read_text().split("recipes")[0]


def test_a_claim_passes_over_a_record_that_lacks_its_metric(decays, one, both):
    (claim,) = get_study(decays).claims.claims
    alone, together = (read_record(f / "record.json") for f in (one, both))
    assert judge(claim, [together, alone]).sources == (together,)
    assert judge(claim, [alone]).status == "not run"


def test_a_wanted_run_is_done_by_a_record_of_its_networks(one, both):
    alone, together = (read_record(f / "record.json") for f in (one, both))
    assert has_networks(together, [])
    assert has_networks(together, [SECOND])
    assert has_networks(alone, ["back*"])
    assert not has_networks(alone, [SECOND])
    assert not has_networks(alone, []), "all networks were wanted"


def test_a_name_without_a_network_is_refused_with_those_there_are(both):
    tasks = list(Run.open(both).tasks.values())
    with pytest.raises(ReproError, match=f"'phase'.*{FIRST}, {SECOND}"):
        chosen(tasks, ["phase"])


def test_a_study_that_needs_all_its_networks_refuses_before_any_data_is_built(springs, tmp_path):
    command = ["run", springs, "--networks", "plain", "--out", str(tmp_path / "run")]
    refused = CliRunner().invoke(cli.app, command)
    assert refused.exit_code == 2
    assert "springs cannot do this" in refused.stderr
    assert not (tmp_path / "run").exists()


# ---- put together again


@pytest.fixture(scope="module")
def other(decays, both, tmp_path_factory):
    """The folder of a run of the second network, which brings the first along."""
    folder = tmp_path_factory.mktemp("other") / "run"
    choices = Choices(study=decays, preset="desk", networks=(SECOND,))
    whole.prepare_and_train(choices, [0], folder, both / "data.h5")
    return folder


def without(folder, task):
    """Return a run's folder after it has forgotten a network."""
    shutil.rmtree(folder / "seed-0" / "networks" / task)
    path = folder / "seed-0" / "run.json"
    content = json.loads(path.read_text())
    content["recipes"].pop(task)
    path.write_text(json.dumps(content))
    return folder


def test_networks_from_two_places_are_the_whole_run(decays, one, other, both, tmp_path):
    second = without(shutil.copytree(other, tmp_path / "second"), FIRST)
    out = tmp_path / "merged"
    command = ["merge", str(one), str(second), "--data", str(both / "data.h5"), "--out", str(out)]
    ran = CliRunner().invoke(cli.app, command)
    assert ran.exit_code == 0, ran.stderr
    merged, expected = (read_record(f / "record.json") for f in (out, both))
    assert merged.metrics == expected.metrics
    assert merged.hashes.configuration == expected.hashes.configuration
    assert merged.chosen_networks == []
    again = [decays, "--preset", "desk", "--data", str(both / "data.h5"), "--out", str(out), "-q"]
    trained = CliRunner().invoke(cli.app, ["train", *again])
    assert trained.exit_code == 0, trained.stderr  # it goes on as if it had been whole


def test_networks_that_are_not_all_stay_a_part(one, both, tmp_path):
    seed_1 = tmp_path / "seed_1"
    choices = Choices(study="decays", preset="desk", networks=(FIRST,))
    whole.prepare_and_train(choices, [1], seed_1, both / "data.h5")
    merge([seed_1, one], tmp_path / "merged", both / "data.h5")
    run = Run.open(tmp_path / "merged", both / "data.h5")
    assert (run.seeds, run.choices.networks, list(run.tasks)) == ((0, 1), (FIRST,), [FIRST])


def test_the_same_network_twice_and_seeds_of_unlike_networks_are_refused(
    one, other, both, tmp_path
):
    with pytest.raises(ReproError, match=rf"Seed 0 is in .* with the network {FIRST}"):
        merge([one, other], tmp_path / "merged", both / "data.h5")
    seed_1 = shutil.copytree(one, tmp_path / "run")
    (seed_1 / "seed-0").rename(seed_1 / "seed-1")
    path = seed_1 / "seed-1" / "run.json"
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 1'))
    with pytest.raises(ReproError, match=f"Seed 1 has no network {SECOND}"):
        merge([other, seed_1], tmp_path / "merged", both / "data.h5")
    assert not (tmp_path / "merged").exists()
