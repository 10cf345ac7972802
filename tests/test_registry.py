"""What every study owes to the rest of the suite, tested on all of them alike."""

from __future__ import annotations

import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from repro import studies as studies_package
from repro.datasets.build import build
from repro.datasets.store import Dataset
from repro.errors import ReproError
from repro.study import PRESETS, get_study, studies
from repro.training.precision import precision

NAMES = sorted(studies())
FEW = {"train": 6, "validation": 2, "test": 2}
BATCH = 2
ROOMS = ("simulate", "model", "recipe", "evaluate", "figures")


@pytest.fixture(scope="module")
def datasets(tmp_path_factory) -> dict[str, Dataset]:
    """A data set of a few samples for each study."""
    folder = tmp_path_factory.mktemp("registry")
    return {
        name: Dataset.open(
            build(get_study(name).data_spec.resolve("smoke", None, FEW), folder / f"{name}.h5")
        )
        for name in NAMES
    }


@pytest.fixture(scope="module", params=[(n, v) for n in NAMES for v in studies()[n].variants])
def tasks(request, datasets):
    """The tasks of one study in one variant, at the smallest preset."""
    name, variant = request.param
    return get_study(name).tasks(variant, "smoke", datasets[name])


def built(task, policy="float32", seed=0):
    keras.utils.clear_session()
    with precision(policy):
        keras.utils.set_random_seed(seed)
        return task.build_model()


def sample(task):
    return task.load(np.arange(BATCH))


def test_no_study_is_a_surprise():
    assert "mamba" in NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_study_has_every_room_and_a_readme(name):
    study = get_study(name)
    missing = [room for room in ROOMS if not (study.folder / f"{room}.py").is_file()]
    assert not missing
    readme = (study.folder / "README.md").read_text(encoding="utf-8")
    assert readme.startswith("# ")
    assert f"repro run {name}" in readme, "a reader must find the command"


@pytest.mark.parametrize("name", NAMES)
def test_a_study_says_what_it_is(name):
    study = get_study(name)
    assert study.title
    assert study.variants[0] == "faithful", "published numbers are compared with it"
    assert all(isinstance(sentence, str) and sentence for sentence in study.deviations)


@pytest.mark.parametrize("name", NAMES)
def test_claims_load_and_ask_for_runs_that_exist(name):
    study = get_study(name)
    assert study.claims.claims
    for claim in study.claims.claims:
        assert claim.variant in study.variants
        study.data_spec.resolve(claim.preset, claim.experiment)


@pytest.mark.parametrize("name", NAMES)
def test_the_data_spec_belongs_to_the_study_and_has_every_preset(name):
    spec = get_study(name).data_spec
    assert spec.study == name
    assert list(spec.presets) == list(PRESETS)
    assert spec.generator.startswith(f"repro.studies.{name}.")


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_variant_is_refused_by_name(name, datasets):
    with pytest.raises(ReproError, match=r"no variant 'perfect'.*faithful"):
        get_study(name).tasks("perfect", "smoke", datasets[name])


def test_tasks_have_different_names(tasks):
    names = [task.name for task in tasks]
    assert names
    assert len(set(names)) == len(names), "two networks would be trained in one folder"


def test_every_trainable_variable_gets_a_finite_gradient_that_is_not_zero(tasks):
    import tensorflow as tf

    for task in tasks:
        model = built(task)
        _leave_the_start(model)
        model.compile(loss=task.recipe.build_loss())
        x, y = sample(task)
        with tf.GradientTape() as tape:
            loss = model.compute_loss(x=x, y=y, y_pred=model(x, training=True))
        assert loss.dtype == tf.float32
        variables = [variable.value for variable in model.trainable_variables]
        assert variables, f"{task.name} learns nothing"
        for variable, gradient in zip(
            model.trainable_variables, tape.gradient(loss, variables), strict=True
        ):
            assert gradient is not None, f"{variable.path} is not used"
            values = keras.ops.convert_to_numpy(gradient)
            assert np.isfinite(values).all(), variable.path
            assert np.any(values), f"{variable.path} is cut off from the loss"


def _leave_the_start(model):
    """Move every weight a little: layers that start at zero pass no gradient back at first."""
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:
        variable.assign_add(0.01 * rng.standard_normal(variable.shape))


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_outputs_are_float32_and_finite_in_every_precision(tasks, policy):
    for task in tasks:
        x, _ = sample(task)
        for output in keras.tree.flatten(built(task, policy)(x)):
            assert keras.backend.standardize_dtype(output.dtype) == "float32", task.name
            assert np.isfinite(keras.ops.convert_to_numpy(output)).all()


def test_saved_weights_give_the_same_outputs_in_a_new_network(tasks, tmp_path):
    for task in tasks:
        x, _ = sample(task)
        path = tmp_path / f"{task.name}.weights.h5"
        first = built(task, seed=1)
        first.save_weights(path)
        expected = keras.tree.flatten(first(x, training=False))
        second = built(task, seed=2)
        assert not _equal(expected, keras.tree.flatten(second(x, training=False)))
        second.load_weights(path)
        assert _equal(expected, keras.tree.flatten(second(x, training=False)))


ONE_STEP = """
import sys
import numpy as np
from repro.datasets.store import Dataset
from repro.study import get_study

study, dataset = get_study(sys.argv[1]), Dataset.open(sys.argv[2])
for variant in study.variants:
    for task in study.tasks(variant, "smoke", dataset):
        model = task.build_model()
        model.compile(task.recipe.build_optimizer(100), task.recipe.build_loss())
        before = [np.array(weight) for weight in model.get_weights()]
        loss = model.train_on_batch(*task.load(np.arange(2)))
        assert np.isfinite(loss), task.name
        after = model.get_weights()
        assert any(not np.array_equal(*pair) for pair in zip(before, after)), task.name
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
@pytest.mark.parametrize("name", NAMES)
def test_every_network_takes_a_step_under_both_backends(name, backend, datasets):
    command = [sys.executable, "-c", ONE_STEP, name, str(datasets[name].path)]
    environment = {**os.environ, "KERAS_BACKEND": backend}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[-2000:]


def _equal(one, other):
    return all(
        np.array_equal(*map(keras.ops.convert_to_numpy, pair))
        for pair in zip(one, other, strict=True)
    )


def test_a_sixth_study_is_found_by_its_folder_and_data_spec_alone(springs):
    assert set(studies()) == {*NAMES, "springs"}
    study = get_study("springs")
    assert study.title == "Stiffness of springs"
    assert [claim.id for claim in study.claims.claims] == ["error"]
    assert study.data_spec.resolve("smoke").n_samples == 96
    assert study.room("recipe").__name__ == f"{studies_package.__name__}.springs.recipe"


def test_an_unknown_study_is_refused_with_those_there_are():
    with pytest.raises(ReproError, match=r"no study 'nothing'.*mamba"):
        get_study("nothing")
