import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from repro.datasets.batches import gather
from repro.errors import ReproError
from repro.training.fit import load_model
from repro.training.progress import RunProgress
from repro.training.state import load_state, save_epoch
from repro.training.world import World

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).with_name("train_small.py")
spec = importlib.util.spec_from_file_location("train_small", SCRIPT)
small = importlib.util.module_from_spec(spec)
spec.loader.exec_module(small)

SHORT = replace(small.RECIPE, epochs=3)
ONE_EPOCH = replace(SHORT, epochs=1, schedule="constant", warmup_steps=0, weight_decay=0.0)
TIMES = {"seconds", "samples_per_second"}


def timeless(history):
    return [{name: row[name] for name in row if name not in TIMES} for row in history]


def assert_same_outcome(folder, other):
    one, two = load_state(folder), load_state(other)
    assert timeless(one.history) == timeless(two.history)
    weights = [load_model(small.build_model, f).get_weights() for f in (folder, other)]
    values = [
        [*state.model, *state.optimizer, *kept]
        for state, kept in zip((one, two), weights, strict=True)
    ]
    for a, b in zip(*values, strict=True):
        np.testing.assert_array_equal(a, b)


def run_script(*arguments, backend="tensorflow"):
    environment = {
        **os.environ,
        "KERAS_BACKEND": backend,
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def interrupt_after(epoch):
    def on_epoch(row):
        if row["epoch"] == epoch:
            raise KeyboardInterrupt

    return on_epoch


def train_interrupted(folder, recipe, epoch):
    with pytest.raises(KeyboardInterrupt):
        small.train(folder, recipe, on_epoch=interrupt_after(epoch))
    return small.train(folder, recipe)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    return folder, *small.train(folder, SHORT)


@pytest.fixture
def finished(trained, tmp_path):
    return shutil.copytree(trained[0], tmp_path / "finished")


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("interrupted")
    with pytest.raises(KeyboardInterrupt):
        small.train(folder, SHORT, on_epoch=interrupt_after(1))
    return folder


@pytest.fixture
def stopped(interrupted, tmp_path):
    return shutil.copytree(interrupted, tmp_path / "stopped")


def test_a_training_killed_at_any_moment_ends_like_an_uninterrupted_one(tmp_path):
    told = [line.split() for line in run_script(tmp_path).splitlines()]
    assert told == [
        [str(epoch), during, str(int(signal.SIGKILL)), str(epoch - 1)]
        for epoch, during in small.KILLS
    ]
    assert_same_outcome(tmp_path / "killed", tmp_path / "straight")
    assert contents(tmp_path / "killed").keys() == contents(tmp_path / "straight").keys()


def test_jax_trains_and_resumes_as_tensorflow_does(tmp_path):
    run_script(tmp_path, "interrupted", backend="jax")
    assert_same_outcome(tmp_path / "killed", tmp_path / "straight")
    losses = load_state(tmp_path / "killed").history
    assert losses[-1]["val_loss"] < losses[0]["val_loss"]
    with pytest.raises(ReproError, match="backend = jax, not tensorflow"):
        small.train(tmp_path / "killed")


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"precision": "mixed_float16", "learning_rate": 1e-3},
        {"precision": "mixed_bfloat16", "optimizer": "adam"},
        {"optimizer": "sgd", "keep": "last", "schedule": "constant", "warmup_steps": 0},
    ],
)
def test_resumed_equals_straight_for_every_kind_of_recipe(tmp_path, changes):
    recipe = replace(SHORT, **changes)
    small.train(tmp_path / "straight", recipe)
    train_interrupted(tmp_path / "resumed", recipe, epoch=2)
    assert_same_outcome(tmp_path / "resumed", tmp_path / "straight")


@pytest.mark.parametrize("jit_compile", [False, True])
def test_the_step_is_compiled_as_the_recipe_says_after_loading_too(tmp_path, jit_compile):
    def tiny():
        return keras.Sequential([keras.Input((8,)), keras.layers.Dense(1)])

    recipe = replace(ONE_EPOCH, jit_compile=jit_compile, optimizer="sgd", clip_norm=None)
    model, _ = small.fit(tiny, recipe, *small.batches(), tmp_path, 0, {}, quiet=True)
    assert model.jit_compile is jit_compile
    assert load_model(tiny, tmp_path).jit_compile is jit_compile


def test_loss_scale_is_part_of_the_state(tmp_path):
    model, _ = small.train(tmp_path, replace(SHORT, precision="mixed_float16"))
    scale = model.optimizer.dynamic_scale
    assert scale.path in [v.path for v in model.optimizer.variables]
    assert len(load_state(tmp_path).optimizer) == len(model.optimizer.variables)


def test_another_seed_gives_another_network_and_seed_zero_is_honoured(tmp_path):
    losses = [
        small.train(tmp_path / str(i), ONE_EPOCH, seed=seed)[1]["loss"]
        for i, seed in enumerate((0, 0, 1))
    ]
    assert losses[0] == losses[1] != losses[2]


def test_done_folder_is_loaded_and_nothing_is_trained_or_written(trained):
    folder, model, history = trained
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir() if path.name != ".lock"}

    def untouched(rows):
        raise AssertionError("a finished training read its data again")

    again, history_again = small.train(folder, SHORT, load=untouched)
    assert history_again == history
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    for a, b in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_done_folder_needs_no_state_file(trained, finished):
    (finished / "state.npz").unlink()
    assert small.train(finished, SHORT)[1] == trained[2]


@pytest.mark.parametrize("folder_name", ["stopped", "finished"])
@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"recipe": replace(SHORT, learning_rate=0.5)}, "recipe.learning_rate = 0.02, not 0.5"),
        ({"seed": 9}, "seed = 0, not 9"),
        ({"configuration": {"task": "other"}}, "configuration.task = small, not other"),
    ],
)
def test_another_configuration_is_refused_and_nothing_changes(request, folder_name, options, named):
    folder = request.getfixturevalue(folder_name)
    before = contents(folder)
    with pytest.raises(ReproError, match=named):
        small.train(folder, **{"recipe": SHORT, **options})
    assert contents(folder) == before


@pytest.mark.parametrize(("doomed", "named"), [(5, "The loss"), (70, "The validation loss")])
def test_a_loss_that_is_no_number_stops_with_the_last_state_intact(
    trained, tmp_path, doomed, named
):
    plain = gather(*small.data())
    ill = []

    def load(rows):
        x, y = plain(rows)
        y[rows == doomed] = np.nan if ill else y[rows == doomed]
        return x, y

    with pytest.raises(ReproError, match=rf"{named} became nan in epoch 2 of 3 .*epoch 1 is kept"):
        small.train(tmp_path, SHORT, load=load, on_epoch=ill.append)
    assert len(load_state(tmp_path).history) == 1
    small.train(tmp_path, SHORT)
    assert_same_outcome(tmp_path, trained[0])


def test_a_truncated_state_is_refused_and_left_as_it_is(stopped):
    state = stopped / "state.npz"
    os.truncate(state, state.stat().st_size // 2)
    before = contents(stopped)
    with pytest.raises(ReproError, match=r"state\.npz is damaged"):
        small.train(stopped, SHORT)
    assert contents(stopped) == before


@pytest.mark.parametrize("keep", ["best", "last"])
def test_the_weights_that_the_recipe_keeps_come_out(tmp_path, keep):
    # So high a learning rate that the last epoch is not the best one.
    recipe = replace(SHORT, epochs=6, learning_rate=0.6, schedule="constant", keep=keep)
    model, history = small.train(tmp_path, recipe)
    assert history["val_loss"][-1] > min(history["val_loss"])
    expected = min(history["val_loss"]) if keep == "best" else history["val_loss"][-1]
    for trained in (model, load_model(small.build_model, tmp_path)):
        trained.compile(loss="mse")
        loss = trained.evaluate(small.batches()[1], verbose=0)
        assert loss == pytest.approx(expected, rel=1e-6)
    assert (tmp_path / f"{keep}.weights.h5").exists()


def test_without_samples_to_validate_the_last_weights_come_out_resumed_or_not(tmp_path):
    def train(folder, **options):
        batches, _ = small.batches()
        recipe = replace(SHORT, keep="last")
        return small.fit(small.build_model, recipe, batches, None, folder, 0, {}, **options)

    _, history = train(tmp_path / "straight", quiet=True)
    assert "val_loss" not in history
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "resumed", on_epoch=interrupt_after(2))
    train(tmp_path / "resumed")
    assert_same_outcome(tmp_path / "resumed", tmp_path / "straight")


def test_the_best_weights_need_samples_to_validate_with(tmp_path):
    with pytest.raises(ReproError, match="cannot be told without samples to validate with"):
        small.fit(small.build_model, SHORT, small.batches()[0], None, tmp_path / "a", 0, {})
    assert not (tmp_path / "a").exists()


def test_a_slow_disk_does_not_slow_short_epochs_and_nothing_is_lost(tmp_path, monkeypatch):
    recipe = replace(SHORT, epochs=40, keep="last")
    small.train(tmp_path / "straight", recipe)
    written = []

    def slowly(folder, model, state, keep):
        time.sleep(0.1)
        written.append(len(state.history))
        save_epoch(folder, model, state, keep)

    monkeypatch.setattr("repro.training.loop.save_epoch", slowly)
    train_interrupted(tmp_path / "resumed", recipe, epoch=30)
    assert len(written) < 30, "every epoch waited for the disk"
    assert_same_outcome(tmp_path / "resumed", tmp_path / "straight")


def test_best_weights_survive_an_interruption_after_the_best_epoch(tmp_path):
    recipe = replace(SHORT, epochs=6, learning_rate=0.6, schedule="constant")
    _, straight = small.train(tmp_path / "straight", recipe)
    best = int(np.argmin(straight["val_loss"])) + 1
    assert best < 6
    train_interrupted(tmp_path / "resumed", recipe, epoch=best)
    assert_same_outcome(tmp_path / "resumed", tmp_path / "straight")


def test_a_damaged_weights_file_is_named(finished):
    os.truncate(finished / "best.weights.h5", 2000)
    with pytest.raises(ReproError, match=r"best\.weights\.h5 is damaged"):
        load_model(small.build_model, finished)


def test_an_unfinished_training_is_not_loaded(stopped):
    with pytest.raises(ReproError, match="holds no finished training"):
        load_model(small.build_model, stopped)


def test_weights_of_another_network_are_refused(finished):
    def other():
        return keras.Sequential([keras.Input((8,)), keras.layers.Dense(3)])

    with pytest.raises(ReproError, match="does not fit the network"):
        load_model(other, finished)


def test_an_unknown_loss_is_refused_and_nothing_is_made(tmp_path):
    with pytest.raises(ReproError, match="loss 'no_such_loss'"):
        small.train(tmp_path / "run", replace(SHORT, loss="no_such_loss"))
    assert not (tmp_path / "run").exists()


def test_a_network_that_is_not_built_is_refused(tmp_path):
    def unbuilt():
        return keras.Sequential([keras.layers.Dense(1)])

    with pytest.raises(ReproError, match="has no variables yet"):
        small.fit(unbuilt, SHORT, *small.batches(), tmp_path, 0, {})


def test_more_workers_than_samples_are_refused_and_nothing_is_made(tmp_path):
    class Many(World):
        size = 65

    with pytest.raises(ReproError, match="65 workers cannot share 64 training samples"):
        small.fit(small.build_model, SHORT, *small.batches(), tmp_path / "run", 0, {}, world=Many())
    assert not (tmp_path / "run").exists()


def test_loss_is_the_mean_over_samples_whatever_the_last_batch(tmp_path):
    # 70 = 4 batches of 16 and one of 6; so small a learning rate that no weight moves.
    def constant():
        return keras.Sequential([keras.Input((8,)), keras.layers.Dense(1, "linear", False)])

    recipe = replace(ONE_EPOCH, optimizer="sgd", learning_rate=1e-30)
    train, validation = small.batches(n_train=70, n_validation=21)
    model, history = small.fit(constant, recipe, train, validation, tmp_path, 0, {}, quiet=True)
    x, y = small.data()
    errors = (x.astype(float) @ model.get_weights()[0] - y)[:, 0] ** 2
    assert history["loss"][0] == pytest.approx(errors[:70].mean(), rel=1e-5)
    assert history["val_loss"][0] == pytest.approx(errors[70:91].mean(), rel=1e-5)


def test_mixed_precision_keeps_output_loss_and_variables_in_float32(tmp_path):
    recipe = replace(ONE_EPOCH, precision="mixed_bfloat16")
    model, history = small.train(tmp_path, recipe)
    x, y = small.data()
    output = model.predict(x[64:80], verbose=0)
    assert output.dtype == np.float32
    assert model.layers[0].compute_dtype == "bfloat16"
    assert {v.dtype for v in model.trainable_variables} == {"float32"}
    assert load_model(small.build_model, tmp_path).layers[0].compute_dtype == "bfloat16"
    assert history["val_loss"][0] == pytest.approx(
        np.mean((output - y[64:80]) ** 2, dtype=float), rel=1e-6
    )


def test_inputs_and_targets_may_be_dicts(tmp_path):
    def two_heads():
        a, b = keras.Input((8,), name="a"), keras.Input((8,), name="b")
        sums = keras.layers.Dense(1, name="sums")(a)
        return keras.Model({"a": a, "b": b}, {"sums": sums, "copy": keras.layers.Dense(1)(b)})

    x, y = small.data()
    load = gather({"a": x, "b": x}, {"sums": y, "copy": y})
    train, validation = small.batches(load)
    _, history = small.fit(two_heads, SHORT, train, validation, tmp_path, 0, {}, quiet=True)
    assert history["epoch"] == [1, 2, 3]
    assert history["loss"][2] < history["loss"][0]


def test_a_network_may_bring_its_own_loss(tmp_path):
    class Shrinking(keras.layers.Layer):
        def call(self, x):
            self.add_loss(keras.ops.mean(x**2))
            return x

    def build_model():
        layers = [keras.Input((8,)), keras.layers.Dense(2), Shrinking()]
        return keras.Sequential(layers)

    recipe = replace(SHORT, loss="none")
    _, history = small.fit(build_model, recipe, *small.batches(), tmp_path, 0, {}, quiet=True)
    assert history["val_loss"][2] < history["val_loss"][0]


def test_history_tells_rate_and_learning_rate_of_every_epoch(trained):
    _, _, history = trained
    assert history["epoch"] == [1, 2, 3]
    # 4 steps per epoch, 7 of warm-up, 12 in all: steps 0, 4 and 8.
    expected = [0.02 / 7, 0.02 * 5 / 7, 0.01 * (1 + np.cos(np.pi / 5))]
    np.testing.assert_allclose(history["learning_rate"], expected, rtol=1e-6)
    assert all(rate > 0 for rate in history["samples_per_second"])
    assert all(seconds > 0 for seconds in history["seconds"])


def test_on_epoch_is_told_every_row_of_the_history(stopped, trained):
    rows = []
    small.train(stopped, SHORT, on_epoch=rows.append)
    assert timeless(rows) == timeless(load_state(trained[0]).history)[1:]


def test_progress_goes_to_standard_error(tmp_path, capsys):
    train, validation = small.batches()
    small.fit(small.build_model, SHORT, train, validation, tmp_path, 0, {})
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.split()[1] for line in err.splitlines()] == ["1/3", "2/3", "3/3"]


def test_progress_spans_the_networks_of_a_run_those_trained_before_too(tmp_path, capsys):
    train, validation = small.batches()
    progress = RunProgress([3 * 64] * 3)
    for name in ("a", "b", "a"):
        folder = tmp_path / name
        small.fit(small.build_model, SHORT, train, validation, folder, 0, {}, progress=progress)
    assert progress.completed == 3 * 3 * 64
    assert len(capsys.readouterr().err.splitlines()) == 6, "what is done is not trained again"
