import shutil

import pytest
import yaml

from repro.datasets.spec import load_spec
from repro.errors import ReproError
from repro.evaluation.protocol import (
    RECIPE_DEFAULTS,
    asked,
    check_protocol,
    data_protocol,
    differences,
)
from repro.study import get_study


def test_the_data_set_of_a_claim_is_what_its_spec_says_in_full():
    asked_for = data_protocol(load_spec("mamba"), "paper", "rough")
    assert asked_for == {
        "data.name": "mamba",
        "data.parameters.n_layers": 13,
        "data.parameters.n_layers_varied": 2,
        "data.parameters.rough": True,
        "data.counts.train": 90000,
        "data.counts.validation": 10000,
        "data.counts.test": 1000,
    }


def test_the_checksum_of_a_file_is_no_part_of_a_protocol():
    # Whoever has the published films in another file has the published films.
    places = data_protocol(load_spec("rheed_sto"), "paper", "as_published")
    assert "data.parameters.height" in places
    assert not any("sha256" in place for place in places)


def test_recipes_are_at_their_defaults_but_for_what_a_protocol_names(make_claim):
    claim = make_claim(protocol={"networks.step_*.recipe.loss": "mse"})
    places = asked(claim, "layers_12")
    assert "networks.*.recipe.loss" not in places
    assert places["networks.*.recipe.clip_norm"] is None
    assert places["networks.*.recipe.schedule"] == "constant"
    assert RECIPE_DEFAULTS.keys().isdisjoint({"epochs", "batch_size", "learning_rate"})
    nothing_named = asked(make_claim(), "layers_12")
    assert not any("recipe" in place for place in nothing_named)


def test_differences_name_place_and_both_values(make_record):
    record = make_record({"mae": [0.1]})
    wanted = {
        "data.counts.train": 90000,
        "networks.r*.recipe.epochs": 40,
        "networks.*.recipe.schedule": "constant",
        "networks.z.parameters": 10,
    }
    assert differences(record, wanted) == {
        "networks.r*.recipe.epochs": "networks.r*.recipe.epochs 30 instead of 40",
        "networks.z.parameters": "networks.z.parameters nothing instead of 10",
    }


@pytest.mark.parametrize(
    "place",
    [
        "networks.*.recipe.epoch",
        "networks.*.width",
        "data.counts.trian",
        "data.parameters.layers",
        "recipe.epochs",
    ],
)
def test_a_protocol_that_names_what_no_record_has_is_refused(make_claim, place):
    with pytest.raises(ReproError, match="claim mae asks for protocol") as error:
        check_protocol(make_claim(protocol={place: 1}), {"n_layers"})
    assert place in str(error.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"experiment": "many"}, "experiment many"),
        ({"protocol": {"networks.*.recipe.epoch": 2}}, r"protocol\.networks\.\*\.recipe\.epoch,"),
        ({"margin": 0}, "margin"),
        ({"margin_reason": ""}, "margin_reason"),
    ],
)
def test_wrong_claims_of_a_study_are_named_by_file_claim_and_field(
    springs, tmp_path, monkeypatch, change, said
):
    study = get_study(springs)
    path = shutil.copy(study.folder / "claims.yaml", tmp_path)
    content = yaml.safe_load((study.folder / "claims.yaml").read_text())
    content["claims"][0] |= change
    (tmp_path / "claims.yaml").write_text(yaml.safe_dump(content))
    monkeypatch.setattr(type(study), "folder", tmp_path)
    with pytest.raises(ReproError, match=said) as error:
        study.claims  # noqa: B018
    assert str(path) in str(error.value)
    assert "error" in str(error.value)
    assert "\n" not in str(error.value)
