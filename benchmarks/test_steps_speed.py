"""Speed of steps on the device beside the same steps taken one by one, under JAX."""

import keras
import numpy as np
import pytest

from repro.datasets.batches import Batches, gather
from repro.studies.mamba.model import faithful_unet
from repro.training.recipe import Recipe
from repro.training.steps import steps_of
from repro.training.ways import ON_DEVICE, ONE_BY_ONE

pytestmark = pytest.mark.skipif(
    keras.config.backend() != "jax", reason="steps stay on the device under JAX: KERAS_BACKEND=jax"
)
RECIPE = Recipe(epochs=1, batch_size=8, learning_rate=1e-3)
N_STEPS = 16


def dense():
    """Return a network whose steps are short."""
    layers = [keras.layers.Dense(64, activation="relu") for _ in range(6)]
    return keras.Sequential([keras.Input((64,)), *layers, keras.layers.Dense(64)])


def unet():
    """Return the published network, narrower."""
    return faithful_unet((8, 16, 32))


@pytest.mark.parametrize(("build", "shape"), [(dense, (64,)), (unet, (3840, 1))])
def test_an_epoch_of_short_steps(benchmark, take_short_turns, build, shape):
    """Compare epochs of the same network and samples."""
    n = N_STEPS * RECIPE.batch_size
    x = np.random.default_rng(0).normal(size=(n, *shape)).astype("float32")
    programs = {way: epoch_of(build(), x, way) for way in (ONE_BY_ONE, ON_DEVICE)}
    seconds = take_short_turns(**programs)
    benchmark.extra_info["speedup_over_one_by_one"] = seconds[ONE_BY_ONE] / seconds[ON_DEVICE]
    benchmark.extra_info["ms_per_step"] = 1e3 * seconds[ON_DEVICE] / N_STEPS


def epoch_of(model, x, way):
    """Return a function that trains a network for an epoch, to answer with what it is asked."""
    model.compile(RECIPE.build_optimizer(N_STEPS), RECIPE.build_loss(), jit_compile=True)
    model.optimizer.build(model.trainable_variables)
    steps = steps_of(model, way=way)
    batches = Batches(gather(x, x), np.arange(len(x)), RECIPE.batch_size, seed=0)
    return lambda: list(steps.train(batches))
