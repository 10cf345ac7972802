import json
import subprocess
import sys

import keras
import numpy as np
import pytest

from repro.errors import ReproError
from repro.training.learning_rate import Schedule
from repro.training.recipe import Recipe, check_changes
from repro.training.schedules import Adaptive, Ramp, Staircase, Triangle

FIRST_FIELDS = {
    "epochs": 4,
    "batch_size": 8,
    "learning_rate": 0.1,
    "optimizer": "adam",
    "schedule": "constant",
    "warmup_steps": 0,
    "weight_decay": 0.0,
    "clip_norm": None,
    "precision": "float32",
    "jit_compile": False,
    "keep": "best",
    "loss": "mae",
    "scaling": "none",
    "compression": "none",
}


def recipe(**changes):
    return Recipe(**{"epochs": 4, "batch_size": 8, "learning_rate": 0.1, **changes})


def rates(schedule, n_steps):
    return np.array([float(schedule(step)) for step in range(n_steps)])


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"optimizer": "lion"}, "optimizer 'lion'"),
        ({"schedule": "linear"}, "schedule 'linear'"),
        ({"keep": "first"}, "keep 'first'"),
        ({"precision": "float16"}, "Precision 'float16'"),
        ({"epochs": 0}, "epochs is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"warmup_steps": -1}, "warmup_steps is -1"),
        ({"weight_decay": -0.1}, "weight_decay is -0.1"),
        ({"learning_rate": 0.0}, "learning_rate is 0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"clip_norm": 0.0}, "clip_norm is 0"),
        ({"epsilon": 0.0}, "epsilon is 0"),
        ({"beta_2": 1.0}, "beta_2 is 1"),
        ({"rate_by_epoch": Adaptive(), "schedule": "cosine"}, "by epoch and by step"),
        ({"rate_by_epoch": Adaptive(), "warmup_steps": 1}, "by epoch and by step"),
        ({"loss_weights": (Staircase("l1", 1.0, 1, 1), Ramp("l1", 0, 1, 1, 2))}, "term twice"),
    ],
)
def test_impossible_recipe_is_refused_when_it_is_written(changes, named):
    with pytest.raises(ReproError, match=named):
        recipe(**changes)


def test_fields_that_are_not_used_leave_the_identity_of_older_runs_alone():
    assert recipe().described() == FIRST_FIELDS
    assert recipe(epsilon=1e-8).described() == {**FIRST_FIELDS, "epsilon": 1e-8}


def test_a_recipe_comes_back_from_json():
    written = recipe(
        rate_by_epoch=Triangle(0.15, 20),
        loss_weights=(Staircase("l1", 2.5e-8, 21, 5), Ramp("scale", 0.0, 1.0, 1, 9)),
        epsilon=1e-8,
    )
    for one in (written, recipe()):
        assert Recipe.of(json.loads(json.dumps(one.described()))) == one


def test_texts_of_the_command_line_change_fields_of_every_type():
    changed = recipe().changed(
        {
            "epochs": "7",
            "jit_compile": "true",
            "rate_by_epoch": '{"kind": "adaptive", "rise": 1.5}',
            "loss_weights": '[{"kind": "ramp", "term": "l1", "first": 0, "last": 1, '
            '"first_epoch": 2, "last_epoch": 4}]',
        }
    )
    assert changed == recipe(
        epochs=7,
        jit_compile=True,
        rate_by_epoch=Adaptive(rise=1.5),
        loss_weights=(Ramp("l1", 0.0, 1.0, 2, 4),),
    )


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"foo": "1"}, r"recipe\.foo: a recipe has only epochs, "),
        ({"epochs": "many"}, r"recipe\.epochs=many: .*integer"),
        ({"precision": "fp16"}, "Precision 'fp16'"),
        ({"rate_by_epoch": "cosine"}, "write it in JSON"),
        ({"rate_by_epoch": '{"kind": "saw"}'}, r"recipe\.rate_by_epoch=.*'triangle'"),
        ({"rate_by_epoch": '{"kind": "triangle", "lowest": 0.1}'}, "half_period: Field required"),
        ({"rate_by_epoch": '{"kind": "adaptive", "up": 2}'}, "up: "),
    ],
)
def test_a_change_that_no_recipe_can_take_is_refused(changes, named):
    with pytest.raises(ReproError, match=named):
        check_changes(changes)


def test_settings_are_checked_before_keras_is_imported():
    code = (
        "import sys; from repro.training.precision import check_precision\n"
        "from repro.training.recipe import check_changes; check_precision('float32')\n"
        "check_changes({'epochs': '3'}); sys.exit('keras' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_schedule_rises_in_a_line_then_falls_to_zero_along_a_cosine():
    schedule = Schedule(0.1, total_steps=14, warmup_steps=4, cosine=True)
    falling = 0.05 * (1 + np.cos(np.pi * np.arange(11) / 10))
    expected = [0.025, 0.05, 0.075, 0.1, *falling, 0.0]
    np.testing.assert_allclose(rates(schedule, 16), expected, rtol=1e-6, atol=1e-9)


def test_constant_schedule_stays_after_the_warm_up():
    schedule = Schedule(0.1, total_steps=6, warmup_steps=2, cosine=False)
    np.testing.assert_allclose(rates(schedule, 6), [0.05, 0.1, 0.1, 0.1, 0.1, 0.1], rtol=1e-6)


def test_schedule_survives_serialisation():
    schedule = Schedule(0.1, total_steps=14, warmup_steps=4, cosine=True)
    described = keras.optimizers.schedules.serialize(schedule)
    again = keras.optimizers.schedules.deserialize(described)
    np.testing.assert_array_equal(rates(again, 14), rates(schedule, 14))


def test_optimizer_follows_the_schedule_over_the_whole_training():
    changed = recipe(schedule="cosine", warmup_steps=3)
    learning_rate = changed.build_optimizer(steps_per_epoch=5)._learning_rate
    assert (learning_rate.total_steps, learning_rate.warmup_steps) == (20, 3)


def test_warm_up_longer_than_the_training_is_refused():
    with pytest.raises(ReproError, match="warms up for 20 steps"):
        recipe(warmup_steps=20).build_optimizer(steps_per_epoch=5)


@pytest.mark.parametrize(
    ("name", "optimizer_class"),
    [
        ("adam", keras.optimizers.Adam),
        ("adamw", keras.optimizers.AdamW),
        ("sgd", keras.optimizers.SGD),
    ],
)
def test_optimizer_gets_every_setting_of_the_recipe(name, optimizer_class):
    optimizer = recipe(optimizer=name, weight_decay=0.02, clip_norm=0.5).build_optimizer(5)
    assert type(optimizer) is optimizer_class
    assert optimizer.weight_decay == 0.02
    assert optimizer.global_clipnorm == 0.5
    assert float(keras.ops.convert_to_numpy(optimizer.learning_rate)) == pytest.approx(0.1)


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_constants_of_the_optimizer_are_keras_own_unless_the_recipe_says_otherwise(name):
    plain = {"adam": keras.optimizers.Adam, "adamw": keras.optimizers.AdamW}[name]()
    ours = recipe(optimizer=name).build_optimizer(5)
    others = recipe(optimizer=name, beta_1=0.5, beta_2=0.9, epsilon=1e-8).build_optimizer(5)
    constants = [(o.beta_1, o.beta_2, o.epsilon) for o in (plain, ours, others)]
    assert constants == [(0.9, 0.999, 1e-7)] * 2 + [(0.5, 0.9, 1e-8)]


def test_no_weight_decay_means_none_even_for_adamw():
    variable = keras.Variable(np.ones(3, "float32"))
    optimizer = recipe(optimizer="adamw").build_optimizer(5)
    optimizer.apply([keras.ops.zeros(3)], [variable])
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable), np.ones(3))


def test_a_loss_registered_with_keras_is_found_by_name():
    @keras.saving.register_keras_serializable(package="test_recipe")
    def twice_the_error(y_true, y_pred):
        return 2 * keras.ops.mean(keras.ops.abs(y_true - y_pred), axis=-1)

    assert recipe(loss="test_recipe>twice_the_error").build_loss() is twice_the_error


def test_a_loss_that_keras_does_not_know_is_refused():
    with pytest.raises(ReproError, match="loss 'no_such_loss'"):
        recipe(loss="no_such_loss").build_loss()


def test_a_network_can_bring_its_own_loss():
    assert recipe(loss="none").build_loss() is None
