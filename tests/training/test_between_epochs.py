"""Trainings in which learning rate, loss weights, masks and answers change between epochs."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from repro.datasets.batches import Batches
from repro.errors import ReproError
from repro.training.between_epochs import BetweenEpochs
from repro.training.fit import fit, load_model
from repro.training.loss_term import LossTerm
from repro.training.recipe import Recipe
from repro.training.schedules import Adaptive, Ramp, Staircase, StepDecay
from repro.training.state import load_state
from repro.training.world import World

pytestmark = pytest.mark.slow

ROWS, BATCH = 32, 8
STEPS = ROWS // BATCH
X = np.random.default_rng(1).normal(size=(ROWS, 6)).astype("float32")
Y = X.sum(axis=1, keepdims=True)
RECIPE = Recipe(
    epochs=5,
    batch_size=BATCH,
    learning_rate=0.1,
    loss="mse",
    epsilon=1e-8,
    keep="best_training",
    rate_by_epoch=Adaptive(rise=1.5, fall=0.5),
    loss_weights=(Staircase("size", step=0.01, first_epoch=2, every=2),),
)
TIMES = {"seconds", "samples_per_second"}


class Masked(keras.layers.Layer):
    """Lets through what its masks say; they are found anew between epochs."""

    def build(self, input_shape):
        self.masks = self.add_weight(
            name="masks", shape=input_shape[1:], initializer="ones", trainable=False
        )

    def call(self, inputs):
        return inputs * self.masks


def build_model():
    x = keras.Input((6,))
    y = keras.layers.Dense(4, activation="tanh", name="inner")(Masked()(x))
    y = keras.layers.Dropout(0.2)(LossTerm("size")(y, y**2))
    return keras.Model(x, keras.layers.Dense(1)(y))


def renew(model, epochs, arrays):
    """Mask the input that counts least, and move the answers towards those of the network."""
    masks = np.ones(6, "float32")
    if epochs:
        masks[np.abs(model.get_layer("inner").get_weights()[0]).sum(axis=1).argmin()] = 0.0
    answers = arrays.get("answers", np.zeros((ROWS, 1), "float32"))
    return {"masks": masks, "answers": answers + 0.1 * model.predict(X, verbose=0)}


def load(rows, arrays):
    return X[rows], Y[rows] + arrays["answers"][rows]


def train(folder, recipe=RECIPE, load=load, renew=renew, validation=None, build=build_model, **how):
    batches = Batches(load, np.arange(ROWS), BATCH, seed=0)
    return fit(build, recipe, batches, validation, folder, 0, {}, quiet=True, renew=renew, **how)


def plain(rows):
    return X[rows], Y[rows]


def timeless(history):
    return [{name: value for name, value in row.items() if name not in TIMES} for row in history]


def assert_same_outcome(folder, other):
    one, two = load_state(folder), load_state(other)
    assert timeless(one.history) == timeless(two.history)
    assert one.arrays.keys() == two.arrays.keys() != set()
    kept = [load_model(build_model, path).get_weights() for path in (folder, other)]
    values = [
        [*state.model, *state.optimizer, *state.arrays.values(), *weights]
        for state, weights in zip((one, two), kept, strict=True)
    ]
    for a, b in zip(*values, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    folder = tmp_path_factory.mktemp("straight")
    return folder, *train(folder)


@pytest.mark.parametrize("epoch", [1, 2, 4])
def test_stopped_after_an_epoch_it_ends_like_an_uninterrupted_training(straight, tmp_path, epoch):
    def stop(row):
        if row["epoch"] == epoch:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, on_epoch=stop)
    train(tmp_path)
    assert_same_outcome(tmp_path, straight[0])


@pytest.mark.parametrize("epoch", [1, 3])
def test_stopped_within_an_epoch_it_ends_like_an_uninterrupted_training(straight, tmp_path, epoch):
    batches = []

    def stop(rows, arrays):
        batches.append(rows)
        if len(batches) == (epoch - 1) * STEPS + 3:
            raise KeyboardInterrupt
        return load(rows, arrays)

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, load=stop)
    train(tmp_path)
    assert_same_outcome(tmp_path, straight[0])


class Remembering(World):
    """Keeps the state of every step in memory, and loses a rank at one of them."""

    commit_steps = 1

    def __init__(self, lost_at):
        self.lost_at, self.commits, self.kept = lost_at, 0, None

    def commit(self, key, state):
        self.commits += 1
        self.kept = state()
        if self.commits == self.lost_at:
            raise KeyboardInterrupt

    def committed(self, key):
        return self.kept


def test_a_state_kept_within_an_epoch_goes_on_with_the_arrays_of_that_epoch(straight, tmp_path):
    # Four steps and the end of the epoch: the second step of the third epoch.
    world = Remembering(lost_at=2 * (STEPS + 1) + 2)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, world=world)
    assert world.kept.epoch.steps == 2
    train(tmp_path, world=world)
    assert_same_outcome(tmp_path, straight[0])


def test_learning_rate_follows_the_training_losses(straight):
    *_, history = straight
    for done, rate in enumerate(history["learning_rate"]):
        factor = RECIPE.rate_by_epoch.factor(history["loss"][:done])
        assert rate == pytest.approx(0.1 * factor, rel=1e-6)
    assert len(set(history["learning_rate"])) == 5


def test_learning_rate_changes_by_epoch_under_a_loss_scale_too(tmp_path):
    recipe = replace(RECIPE, precision="mixed_float16", rate_by_epoch=StepDecay(0.5, 2))
    _, history = train(tmp_path, replace(recipe, learning_rate=1e-3))
    expected = np.array([1, 1, 0.5, 0.5, 0.25]) * 1e-3
    np.testing.assert_allclose(history["learning_rate"], expected, rtol=1e-6)


def test_weights_of_the_best_training_loss_come_out_without_samples_to_validate(tmp_path):
    # So high a learning rate that the last epoch is not the best one.
    recipe = replace(RECIPE, rate_by_epoch=StepDecay(9.0, 1), loss_weights=(), learning_rate=0.03)
    seen = {}

    def watch(model, epochs, arrays):
        seen[epochs] = model.get_weights()
        return {}

    model, history = train(tmp_path, recipe, lambda rows, arrays: plain(rows), watch)
    best = int(np.argmin(history["loss"])) + 1
    assert best < recipe.epochs
    for trained in (model, load_model(build_model, tmp_path)):
        for ours, then in zip(trained.get_weights(), seen[best], strict=True):
            np.testing.assert_array_equal(ours, then)


def still(folder, loss_weights):
    """Train so slowly that no weight moves; return the loss of every epoch."""

    def build():
        x = keras.Input((6,))
        y = keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")(x)
        return keras.Model(x, LossTerm("one", weight=7.0)(y, x * 0 + 1))

    recipe = Recipe(3, BATCH, 1e-30, optimizer="sgd", keep="last", loss_weights=loss_weights)
    return np.array(train(folder, recipe, plain, None, build=build)[1]["loss"])


def test_loss_weights_change_by_epoch_and_are_the_networks_own_without_a_schedule(tmp_path):
    own = still(tmp_path / "own", ())
    ramp = still(
        tmp_path / "ramp", (Ramp("one", first=1.0, last=3.0, first_epoch=1, last_epoch=3),)
    )
    np.testing.assert_allclose(own - np.abs(Y).mean(), [7, 7, 7], rtol=1e-5)
    np.testing.assert_allclose(ramp - np.abs(Y).mean(), [1, 2, 3], rtol=1e-5)


def test_a_loss_term_keeps_its_digits_in_half_precision():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        x = keras.Input((1,), dtype="float32")
        model = keras.Model(x, LossTerm("small", weight=1e-9)(x, x))
    finally:
        keras.config.set_dtype_policy("float32")
    model(np.full((2, 1), 3.0, "float32"))
    assert float(model.losses[0]) == pytest.approx(3e-9)


def test_a_term_that_the_network_lacks_is_refused(tmp_path):
    recipe = replace(RECIPE, loss_weights=(Staircase("depth", 1.0, 1, 1),))
    with pytest.raises(ReproError, match="loss term 'depth', but the network has 0"):
        train(tmp_path, recipe)


def test_validation_sees_the_arrays_of_the_epoch(tmp_path):
    told = []

    def validate(rows, arrays):
        told.append(arrays["answers"])
        return load(rows, arrays)

    validation = Batches(validate, np.arange(ROWS), ROWS, seed=None)
    train(tmp_path, replace(RECIPE, epochs=2), validation=validation)
    assert len(told) == 2
    np.testing.assert_array_equal(told[1], load_state(tmp_path).arrays["answers"])


def test_ranks_that_follow_take_the_arrays_of_the_leading_one():
    class Follower(World):
        rank = 1

        def lead(self, function):
            return {"masks": np.full(6, 0.5, "float32"), "answers": np.ones((ROWS, 1), "float32")}

    def never(*_):
        raise AssertionError("a following rank renewed by itself")

    model = build_model()
    model.compile("adam", "mse")
    batches = Batches(load, np.arange(ROWS), BATCH, seed=0)
    BetweenEpochs(model, RECIPE, never, [batches], Follower()).prepare([], {}, begun=False)
    np.testing.assert_array_equal(batches[0][1], Y[batches._order[:BATCH]] + 1)
    np.testing.assert_array_equal(model.layers[1].masks, np.full(6, 0.5))
