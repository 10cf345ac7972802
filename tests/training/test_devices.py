"""Trainings on several JAX devices; run as a script, this file is the process that trains.

``test_devices.py FOLDER 2`` trains on two simulated devices and stops one training half way;
``test_devices.py FOLDER 1`` does the same on one, goes on with the stopped one, and prints what
is said to those who ask for more devices than there are.
"""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from repro.datasets.batches import Batches, gather
from repro.errors import NotPossibleHere, ReproError
from repro.training.devices import device_count, use_devices
from repro.training.fit import fit
from repro.training.state import load_state

pytestmark = pytest.mark.slow

N_TRAIN, BATCH_SIZE, EPOCHS = 75, 16, 4  # 4 batches of 16 and one of 11: 20 steps in all


def train_on(devices, folder):
    """Return what a process with a number of devices prints."""
    environment = {
        **os.environ,
        "KERAS_BACKEND": "jax",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    command = [sys.executable, __file__, str(folder), str(devices)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with the same trainings on one device and on two, and what the processes said."""
    folder = tmp_path_factory.mktemp("devices")
    return folder, {devices: train_on(devices, folder) for devices in (2, 1)}


def assert_equal_but_for_rounding(folder, other):
    one, two = load_state(folder), load_state(other)
    assert len(one.history) == len(two.history) == EPOCHS
    for name in ("loss", "val_loss"):
        losses = [[row[name] for row in state.history] for state in (one, two)]
        np.testing.assert_allclose(*losses, rtol=1e-5)
    values = [[*state.model, *state.optimizer] for state in (one, two)]
    for a, b in zip(*values, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * np.abs(a).max())


def test_jax_trains_in_16_bits_on_two_devices_and_says_so_in_the_record(tmp_path):
    few = {"train": 64, "validation": 8, "test": 8, "recipe.epochs": 1}
    settings = [word for key, value in few.items() for word in ("--set", f"{key}={value}")]
    command = [sys.executable, "-m", "repro", "run", "mamba", "--devices", "2", "--quiet"]
    command += ["--precision", "mixed_bfloat16"]
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    done = subprocess.run(
        [*command, "--out", str(tmp_path), *settings],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "record.json").read_text())
    assert record["command"].startswith("KERAS_BACKEND=jax repro run mamba")
    assert "--devices 2" in record["command"]
    flags = record["environment"]["flags"]
    assert flags["world_size"] == 2
    assert (flags["backend"], flags["precision"]) == ("jax", "mixed_bfloat16")


@pytest.mark.parametrize("task", ["plain", "with dropout"])
def test_two_devices_train_as_one_does(trained, task):
    folder, _ = trained
    assert_equal_but_for_rounding(folder / f"{task} 1", folder / f"{task} 2")


def test_a_training_stopped_on_two_devices_goes_on_on_one(trained):
    folder, _ = trained
    assert_equal_but_for_rounding(folder / "with dropout 1", folder / "stopped")


def test_a_batch_is_split_unless_the_devices_do_not_divide_it(trained):
    _, said = trained
    assert said[2]["layouts"] == {"16": ["batch", None], "11": [None, None]}
    assert said[2]["devices of a weight"] == said[2]["device_count"] == 2
    assert said[1]["devices of a weight"] == said[1]["device_count"] == 1


def test_the_distribution_ends_with_the_block(trained):
    _, said = trained
    assert [said[devices]["device_count afterwards"] for devices in (1, 2)] == [1, 1]


def test_too_few_devices_are_an_error_that_says_why(trained):
    _, said = trained
    status, message = said[1]["jax in use"]
    assert status == ReproError.exit_status
    assert "JAX was used before with 1 device(s) on the processor" in message
    status, message = said[1]["one gpu"]
    assert status == NotPossibleHere.exit_status
    assert "2 devices were asked for, but this machine has 1" in message


def test_several_devices_under_tensorflow_are_refused_with_the_way_to_do_it():
    sentence = r"2 devices .* need KERAS_BACKEND=jax; under tensorflow .* horovodrun"
    with pytest.raises(ReproError, match=sentence), use_devices(2):
        pass


@pytest.mark.parametrize("count", [0, -1])
def test_fewer_than_one_device_are_refused(count):
    with pytest.raises(ReproError, match=rf"^{count} devices cannot train"), use_devices(count):
        pass


def test_one_device_changes_nothing():
    with use_devices(1):
        assert keras.distribution.distribution() is None
        assert device_count() == 1


# ---- the process that trains


def main(folder, devices):
    import train_small

    small_data = gather(*train_small.data())
    recipe = replace(train_small.RECIPE, epochs=EPOCHS, batch_size=BATCH_SIZE)

    def train(name, build_model, on_epoch=None):
        train_rows, validation_rows = np.split(np.arange(100), [N_TRAIN])
        train = Batches(small_data, train_rows, BATCH_SIZE, seed=0)
        validation = Batches(small_data, validation_rows, BATCH_SIZE, seed=None)
        return fit(
            build_model, recipe, train, validation, folder / name, 0, {}, on_epoch, quiet=True
        )[0]

    with use_devices(devices):
        network = train(f"plain {devices}", plain_network)
        train(f"with dropout {devices}", train_small.build_model)
        if devices == 2:
            stop_after(2, train, "stopped", train_small.build_model)
        else:
            train("stopped", train_small.build_model)
        said = {
            "device_count": device_count(),
            "devices of a weight": len(network.weights[0].value.sharding.device_set),
            "layouts": layouts(),
        }
    said["device_count afterwards"] = device_count()
    if devices == 1:
        said["jax in use"] = refusal()
        keras.distribution.list_devices = lambda: ["gpu:0"]
        said["one gpu"] = refusal()
    print(json.dumps(said))  # noqa: T201


def plain_network():
    layers = [keras.Input((8,)), keras.layers.Dense(16, "tanh"), keras.layers.Dense(1)]
    return keras.Sequential(layers)


def stop_after(epoch, train, *arguments):
    def on_epoch(row):
        if row["epoch"] == epoch:
            raise KeyboardInterrupt

    try:
        train(*arguments, on_epoch)
    except KeyboardInterrupt:
        return
    raise AssertionError("the training was not stopped")


def layouts():
    distribution = keras.distribution.distribution()
    if distribution is None:
        return None
    return {n: distribution.get_data_layout((n, 8)).axes for n in (16, 11)}


def refusal():
    try:
        with use_devices(2):
            raise AssertionError("two devices were granted")
    except ReproError as error:
        return error.exit_status, str(error)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
