import keras
import numpy as np
import pytest

from repro.errors import ReproError
from repro.training.recipe import Recipe, Schedule


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
        ({"loss": "no_such_loss"}, "loss 'no_such_loss'"),
        ({"epochs": 0}, "epochs is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"warmup_steps": -1}, "warmup_steps is -1"),
        ({"weight_decay": -0.1}, "weight_decay is -0.1"),
        ({"learning_rate": 0.0}, "learning_rate is 0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"clip_norm": 0.0}, "clip_norm is 0"),
    ],
)
def test_impossible_recipe_is_refused_when_it_is_written(changes, named):
    with pytest.raises(ReproError, match=named):
        recipe(**changes)


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


def test_a_network_can_bring_its_own_loss():
    assert recipe(loss="none").build_loss() is None
