import hashlib
import json
import shlex

import pytest

from repro.datasets.build import build
from repro.datasets.croissant import croissant
from repro.datasets.spec import load_spec
from repro.datasets.store import Dataset


@pytest.fixture
def spec():
    counts = {"n_layers": 4, "train": 4, "validation": 2, "test": 1}
    return load_spec("mamba").resolve("smoke", "rough_fixed", counts, seed=3)


@pytest.fixture
def dataset(spec, tmp_path):
    return Dataset.open(build(spec, tmp_path / "films.h5"))


@pytest.mark.parametrize("with_file", [True, False])
def test_description_is_valid_croissant(spec, dataset, tmp_path, with_file):
    mlcroissant = pytest.importorskip("mlcroissant")
    path = tmp_path / "croissant.json"
    path.write_text(json.dumps(croissant(spec, dataset if with_file else None)))
    issues = mlcroissant.Dataset(jsonld=str(path)).metadata.ctx.issues
    assert not issues.errors
    # Neither a date, which would alter every build, nor a citation, which a data spec has not.
    assert all("datePublished" in text or "citeAs" in text for text in issues.warnings)


def test_description_agrees_with_the_file(spec, dataset):
    description = croissant(spec, dataset)
    (file,) = description["distribution"]
    assert file["sha256"] == hashlib.sha256(dataset.path.read_bytes()).hexdigest()
    assert file["contentUrl"] == "films.h5"
    fields = {field["name"]: field for field in description["recordSet"][1]["field"]}
    assert set(fields) == {*dataset.names, "split"}
    for name in dataset.names:
        shape = dataset.array(name).shape[1:]
        assert fields[name].get("arrayShape", "") == ",".join(map(str, shape))
        is_float = dataset.array(name).dtype.kind == "f"
        assert fields[name]["dataType"] == ("sc:Float" if is_float else "sc:Integer")
        assert fields[name]["description"].endswith(f"[{spec.variables[name].unit}]")


def test_a_file_with_an_odd_name_has_an_identifier_that_a_url_may_hold(spec, tmp_path):
    dataset = Dataset.open(build(spec, tmp_path / "März 2, {x}#1.h5"))
    description = croissant(spec, dataset)
    (file,) = description["distribution"]
    assert file["@id"] == file["contentUrl"] == "M%C3%A4rz%202%2C%20%7Bx%7D%231.h5"
    assert file["name"] == dataset.path.name
    used = {f["source"]["fileObject"]["@id"] for f in description["recordSet"][1]["field"]}
    assert used == {file["@id"]}


def test_description_tells_limits_and_deviations(spec):
    told = croissant(spec)["rai:dataLimitations"]
    assert {*spec.card.limitations, *spec.card.deviations} == set(told)


def test_command_in_the_description_leads_to_the_same_data(spec):
    assert rebuilt(load_spec("mamba"), spec).fingerprint == spec.fingerprint


@pytest.mark.parametrize("experiment", ["plain", "wide"])
def test_command_spells_out_the_parameters_of_the_preset(toy_content, load_toy, experiment):
    toy_content["presets"]["tiny"]["parameters"] = {
        "width": 2, "delay": 1.0e-7, "flag": True, "fault": "it's 'so'", "range": [1.0e-7, 0.5, 3]
    }  # fmt: skip
    toy = load_toy(toy_content)
    spec = toy.resolve("tiny", experiment, seed=3)
    assert rebuilt(toy, spec).parameters == spec.parameters
    assert rebuilt(toy, spec).fingerprint == spec.fingerprint


def rebuilt(data_spec, spec):
    """Follow the command that the description of a data set gives."""
    words = shlex.split(croissant(spec)["prov:wasGeneratedBy"]["prov:label"])
    assert words[:4] == ["repro", "data", "build", spec.study]
    settings = [words[i + 1] for i, word in enumerate(words) if word == "--set"]
    return data_spec.resolve(
        words[words.index("--preset") + 1],
        overrides=dict(setting.split("=", 1) for setting in settings),
        seed=int(words[words.index("--seed") + 1]),
    )
