import pytest
import yaml

from repro.datasets.spec import ResolvedSpec, load_spec, spec_names, specs_folder
from repro.errors import ReproError


def test_every_data_spec_of_the_repository_loads_and_resolves():
    for name in spec_names():
        spec = load_spec(name)
        for preset in spec.presets:
            for experiment in spec.experiments:
                assert spec.resolve(preset, experiment).n_samples > 0


def test_first_experiment_is_the_default(toy):
    assert toy.resolve("tiny").experiment == "plain"


def test_shapes_follow_the_parameters(toy_content, load_toy):
    toy_content["variables"]["x"]["shape"] = ["width+2", 3]
    resolved = load_toy(toy_content).resolve("tiny", "wide")
    assert resolved.variables["x"].shape == (9, 3)


def test_a_dtype_follows_the_parameter_that_it_names(toy_content, load_toy):
    kind = {"unit": "", "source": "chosen here", "about": "type of x"}
    toy_content["parameters"]["kind"] = kind | {"value": "float32"}
    toy_content["variables"]["x"]["dtype"] = "kind"
    spec = load_toy(toy_content)
    assert spec.resolve("tiny").variables["x"].dtype == "float32"
    other = spec.resolve("tiny", overrides={"kind": "float64"})
    assert other.variables["x"].dtype == "float64"
    assert other.fingerprint != spec.resolve("tiny").fingerprint
    with pytest.raises(ReproError, match=r"'x' cannot be of the type counts: set kind"):
        spec.resolve("tiny", overrides={"kind": "counts"})
    toy_content["parameters"]["kind"] = kind | {"value": "counts"}
    with pytest.raises(ReproError, match="'counts' is no NumPy dtype"):
        load_toy(toy_content)


def test_shapes_follow_the_length_of_a_list(toy_content, load_toy):
    toy_content["variables"]["x"]["shape"] = ["range", "range+1"]
    spec = load_toy(toy_content)
    assert spec.resolve("tiny").variables["x"].shape == (2, 3)
    longer = spec.resolve("tiny", overrides={"range": "[0, 0.5, 1]"})
    assert longer.variables["x"].shape == (3, 4)
    with pytest.raises(ReproError, match="Variable 'x' would have 0 entries where 'range' stands"):
        spec.resolve("tiny", overrides={"range": []})


@pytest.fixture
def scaled(toy_content, load_toy):
    """A toy with parameters of a scale, one of which an experiment sets too."""
    toy_content["presets"]["tiny"]["parameters"] = {"width": 2, "delay": 1, "range": [0.25]}
    return load_toy(toy_content)


def test_a_preset_sets_parameters_of_its_own_only(scaled):
    tiny, small = scaled.resolve("tiny").parameters, scaled.resolve("small").parameters
    assert tiny == small | {"width": 2, "delay": 1.0, "range": [0.25]}
    assert type(tiny["delay"]) is float
    assert (small["width"], small["delay"], small["range"]) == (4, 0.0, [0.0, 1.0])


def test_experiments_go_before_presets_and_settings_before_both(scaled):
    assert scaled.resolve("tiny", "plain").parameters["width"] == 2
    assert scaled.resolve("tiny", "wide").parameters["width"] == 7
    assert scaled.resolve("tiny", "wide", {"width": 9}).parameters["width"] == 9
    assert scaled.resolve("tiny", "wide", {"width": 9}).parameters["delay"] == 1.0


def test_shapes_follow_the_parameters_of_the_preset(scaled):
    assert scaled.resolve("tiny").variables["x"].shape == (2,)
    assert scaled.resolve("small").variables["x"].shape == (4,)


def test_fingerprint_takes_the_parameters_in_force_wherever_they_are_set(toy, scaled):
    same = toy.resolve("tiny", overrides={"width": 2, "delay": 1, "range": [0.25]})
    assert scaled.resolve("tiny").fingerprint == same.fingerprint
    assert scaled.resolve("tiny").fingerprint != toy.resolve("tiny").fingerprint
    assert scaled.resolve("small").fingerprint == toy.resolve("small").fingerprint


def test_resolving_leaves_the_spec_as_it_was(scaled):
    before = scaled.model_dump()
    scaled.resolve("tiny", "wide", {"train": 7, "width": 9, "range": [0.5, 0.75]})
    assert scaled.model_dump() == before


def test_every_parameter_keeps_its_unit(toy):
    resolved = toy.resolve("tiny")
    assert resolved.units.keys() == resolved.parameters.keys()
    assert (resolved.units["delay"], resolved.units["width"]) == ("s", "")


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("width", " 9 ", 9),
        ("delay", "1e-3", 0.001),
        ("delay", 2, 2.0),
        ("fault", "12", "12"),
        ("flag", "True", True),
        ("range", "[1, 2.5]", [1.0, 2.5]),
    ],
)
def test_overrides_are_read_as_the_type_of_the_parameter(toy, key, text, value):
    result = toy.resolve("tiny", overrides={key: text}).parameters[key]
    assert result == value
    assert type(result) is type(value)


def test_overrides_set_sample_counts(toy):
    resolved = toy.resolve("tiny", overrides={"train": "7", "test": 0})
    assert resolved.counts == {"train": 7, "validation": 3, "test": 0}
    assert resolved.n_samples == 10


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("width", "4.5"),
        ("width", True),
        ("width", 4.0),
        ("delay", "nan"),
        ("delay", "fast"),
        ("flag", "1"),
        ("flag", 1),
        ("fault", 3),
        ("range", "1"),
        ("range", "[a]"),
        ("train", "0"),
        ("test", "-1"),
        ("train", "many"),
    ],
)
def test_values_of_the_wrong_type_are_refused(toy, key, value):
    with pytest.raises(ReproError, match=f"'{key}' takes"):
        toy.resolve("tiny", overrides={key: value})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"preset": "huge"}, "no preset 'huge': choose tiny, small"),
        ({"preset": "tiny", "experiment": "x"}, "no experiment 'x': choose plain, wide"),
        ({"preset": "tiny", "overrides": {"widht": 3}}, "no parameter 'widht': it has width"),
        ({"preset": "tiny", "overrides": {"width": 0}}, "Variable 'x' would have 0 entries"),
        ({"preset": "tiny", "seed": -1}, "The seed is a whole number from 0"),
        ({"preset": "tiny", "seed": 2**63}, "The seed is a whole number from 0"),
    ],
)
def test_unknown_choices_are_refused_with_the_known_ones(toy, arguments, message):
    with pytest.raises(ReproError, match=message):
        toy.resolve(**arguments)


def test_seed_zero_is_a_seed(toy_content, load_toy):
    toy_content["seed"] = 5
    spec = load_toy(toy_content)
    assert spec.resolve("tiny").seed == 5
    assert spec.resolve("tiny", seed=0).seed == 0


def test_fingerprint_ignores_names_and_texts(toy_content, load_toy):
    fingerprint = load_toy(toy_content).resolve("tiny", "wide").fingerprint
    by_hand = {"width": 7, "train": 12, "validation": 3, "test": 2}
    toy_content["about"], toy_content["shard_size"] = "Other words.", 3
    assert load_toy(toy_content).resolve("small", overrides=by_hand).fingerprint == fingerprint


def test_fingerprint_ignores_what_alters_no_data(toy_content, load_toy):
    fingerprint = load_toy(toy_content).resolve("tiny").fingerprint
    toy_content["variables"]["x"]["axes"] = ["place"]
    toy_content["parameters"]["delay"]["unit"] = "ms"
    assert load_toy(toy_content).resolve("tiny").fingerprint == fingerprint


# Frozen: a changed fingerprint means that no data set built before is that of the spec any more.
FINGERPRINT = "fda34d155ad36c47475da7b87a1b1c5b5498b9ac25b1b881d7fdfa32b2262050"


def test_fingerprint_is_that_of_earlier_versions(toy):
    assert toy.resolve("tiny").fingerprint == FINGERPRINT


@pytest.mark.parametrize("key", ["width", "train", "test", "fault"])
def test_fingerprint_changes_with_every_choice(toy, key):
    other = toy.resolve("tiny", overrides={key: "8"})
    assert other.fingerprint != toy.resolve("tiny").fingerprint
    assert toy.resolve("tiny", seed=1).fingerprint != toy.resolve("tiny").fingerprint


def test_resolved_spec_survives_json(toy):
    resolved = toy.resolve("tiny", "wide", {"range": "[0, 3]", "delay": 1})
    again = ResolvedSpec.model_validate_json(resolved.model_dump_json())
    assert again == resolved
    assert again.fingerprint == resolved.fingerprint


def change(content, path, value):
    *parents, last = path.split(".")
    for key in parents:
        content = content[key]
    content[last] = value


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("generater", "x:y", "'generater': Extra inputs are not permitted"),
        ("parameters.width.units", "Å", r"'parameters\.width\.units': Extra inputs"),
        ("presets.tiny.train", "many", r"'presets\.tiny\.train': Input should be a valid integer"),
        ("presets.tiny.valid", 3, r"'presets\.tiny\.valid': Extra inputs"),
        ("kind", "invented", "'kind': Input should be 'simulated'"),
        ("generator", "no colon", "'generator'"),
        ("variables.x.dtype", "float31", "'float31' is no NumPy dtype"),
        ("variables.x.dtype", "complex64", "'complex64' is not a plain dtype"),
        ("variables.x.shape", ["depth"], "shape entry 'depth' names no integer parameter"),
        ("variables.x.shape", ["delay"], "shape entry 'delay' names no integer parameter"),
        ("variables.x.shape", ["flag"], "shape entry 'flag' names no integer parameter"),
        ("variables.x.shape", ["width*2"], r"shape entry 'width\*2' names no integer parameter"),
        ("variables.x.shape", ["width+a"], r"shape entry 'width\+a' names no integer parameter"),
        ("variables.x.shape", [2.5], r"'variables\.x\.shape"),
        ("variables.index.normalise", "global", "'index' is normalised but int64"),
        ("variables.split", {}, r"'variables\.split"),
        ("experiments.wide", {"widht": 3}, "experiment 'wide': .* no parameter 'widht'"),
        ("experiments.wide", {"width": 3.5}, "experiment 'wide': 'width' takes a whole number"),
        ("presets.tiny.parameters", {"widht": 3}, "preset 'tiny': .* no parameter 'widht'"),
        ("presets.tiny.parameters", {"train": 3}, "preset 'tiny': .* no parameter 'train'"),
        ("presets.tiny.parameters", {"width": 3.5}, "preset 'tiny': 'width' takes a whole number"),
        ("presets.tiny.parameters", {"flag": 1}, "preset 'tiny': 'flag' takes true or false"),
        ("presets.tiny.parameters", {"range": 1.0}, "preset 'tiny': 'range' takes a list"),
        ("variables.x.shape", ["fault"], "shape entry 'fault' names no integer parameter"),
        ("variables.x.axes", [], "'x' names 0 axes, but its shape has 1"),
        ("variables.x.axes", ["sample", "place"], "'x' names 2 axes, but its shape has 1"),
        ("variables.x.axes", [1], r"'variables\.x\.axes"),
        ("parameters.width.value", float("inf"), "a parameter is a finite number"),
        ("parameters.width.source", "", r"'parameters\.width\.source'"),
        ("experiments", {}, "'experiments'"),
        ("name", "game", "calls itself 'game'"),
    ],
)
def test_faults_in_the_yaml_are_named(toy_content, load_toy, path, value, message):
    change(toy_content, path, value)
    with pytest.raises(ReproError, match=message):
        load_toy(toy_content)


@pytest.mark.parametrize("name", ["split", "normalisation", "parameters", "0_emd"])
def test_variables_cannot_take_the_names_of_the_file_format(toy_content, load_toy, name):
    toy_content["variables"][name] = toy_content["variables"]["index"]
    with pytest.raises(ReproError, match=f"cannot be called '{name}'"):
        load_toy(toy_content)


def test_parameters_cannot_take_the_names_of_splits(toy_content, load_toy):
    toy_content["parameters"]["train"] = toy_content["parameters"]["width"]
    with pytest.raises(ReproError, match="'train' has the name of a split"):
        load_toy(toy_content)


def test_numbers_that_yaml_reads_as_text_are_caught(toy_content, load_toy):
    text = yaml.safe_dump(toy_content).replace("value: 0.0", "value: 1e-3")
    with pytest.raises(ReproError, match="YAML reads 1e-3 as a text"):
        load_toy(text)


def test_a_key_that_stands_twice_is_caught(toy_content, load_toy):
    with pytest.raises(ReproError, match="the key 'seed' stands twice"):
        load_toy(yaml.safe_dump(toy_content) + "seed: 3\n")


@pytest.mark.parametrize("text", ["", "- 1", "a: [", "\x00"])
def test_what_is_no_data_spec_is_refused_in_one_sentence(load_toy, text):
    with pytest.raises(ReproError, match=r"Data spec .*toy\.yaml"):
        load_toy(text)


@pytest.mark.parametrize("name", ["toys", "../toy", ""])
def test_unknown_data_specs_are_refused_with_the_known_ones(toy, name):
    with pytest.raises(ReproError, match=r"no data spec .*: there is toy\."):
        load_spec(name)


def test_a_missing_folder_of_data_specs_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("REPRO_DATA_SPECS", str(tmp_path / "nowhere"))
    with pytest.raises(ReproError, match="set REPRO_DATA_SPECS"):
        load_spec("mamba")


def test_data_specs_stand_beside_the_package(monkeypatch):
    monkeypatch.delenv("REPRO_DATA_SPECS", raising=False)
    assert (specs_folder() / "mamba.yaml").is_file()
