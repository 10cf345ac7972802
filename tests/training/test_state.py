import contextlib
import errno
import json
import os
from pathlib import Path

import keras
import numpy as np
import pytest

from repro.errors import ReproError
from repro.training.state import (
    State,
    claim,
    finish,
    kept_epoch,
    load_state,
    read_finished,
    save_epoch,
)

TRIES = int(os.environ.get("REPRO_TEST_BYTES", "100"))


def network(width=3):
    model = keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(width), keras.layers.Dropout(0.5)]
    )
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    return model


def row(epoch, val_loss):
    return {"epoch": epoch, "loss": 0.1 + 0.2, "val_loss": val_loss, "seconds": 1.0}


def values(model):
    return State.of(model, []).model + State.of(model, []).optimizer


def same(one, other):
    return all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(one, other, strict=True))


def test_state_comes_back_bit_for_bit_with_seed_generators_and_optimizer(tmp_path):
    model = network()
    model.fit(np.ones((8, 2)), np.ones((8, 3)), batch_size=2, verbose=0)
    history = [row(1, 1 / 3)]
    arrays = {"masks": np.eye(3, dtype=bool), "answers": np.array([0.1, 1 / 3])}
    save_epoch(tmp_path, model, State.of(model, history, arrays=arrays), keep="best")
    other = network()
    assert not same(values(other), values(model))
    state = load_state(tmp_path)
    state.restore(other, tmp_path)
    assert same(values(other), values(model))
    assert state.history == history
    assert state.arrays.keys() == arrays.keys()
    assert same(state.arrays.values(), arrays.values())


def test_first_of_equal_epochs_is_the_best():
    history = [row(1, 0.5), row(2, 0.3), row(3, 0.3)]
    assert kept_epoch(history, "best") == 2
    assert kept_epoch(history, "best_training") == 1
    assert kept_epoch(history, "last") == 3


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_state_is_named_and_refused(tmp_path, kept):
    model = network()
    save_epoch(tmp_path, model, State.of(model, [row(1, 0.5)]), keep="last")
    path = tmp_path / "state.npz"
    os.truncate(path, int(path.stat().st_size * kept))
    with pytest.raises(ReproError, match=r"state\.npz is damaged"):
        load_state(tmp_path)


def test_a_flipped_bit_in_the_state_is_refused(tmp_path):
    model = network()
    save_epoch(tmp_path, model, State.of(model, [row(1, 0.5)]), keep="last")
    path = tmp_path / "state.npz"
    content = bytearray(path.read_bytes())
    with np.load(path) as file:
        kernel = file["model-0"].tobytes()
    content[content.index(kernel) + 3] ^= 1
    path.write_bytes(content)
    with pytest.raises(ReproError, match=r"state\.npz is damaged"):
        load_state(tmp_path)


def test_a_state_of_another_network_is_refused(tmp_path):
    model = network()
    save_epoch(tmp_path, model, State.of(model, [row(1, 0.5)]), keep="last")
    with pytest.raises(ReproError, match="other variables"):
        load_state(tmp_path).restore(network(width=4), tmp_path)


@pytest.mark.parametrize("full", ["save_weights", "savez"])
def test_nothing_is_lost_when_the_disk_is_full(tmp_path, monkeypatch, full):
    def fails(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    model = network()
    history = [row(1, 0.5), row(2, 0.4)]
    save_epoch(tmp_path, model, State.of(model, history[:1]), keep="best")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.setattr(*((model, full) if full == "save_weights" else (np, full)), fails)
    with pytest.raises(ReproError, match="make room"):
        save_epoch(tmp_path, model, State.of(model, history), keep="best")
    assert before.items() <= {path.name: path.read_bytes() for path in tmp_path.iterdir()}.items()
    assert load_state(tmp_path).history == history[:1]


def test_another_configuration_is_refused_and_its_differences_are_named(tmp_path):
    claim(tmp_path, {"recipe": {"epochs": 3, "loss": "mae"}, "sizes": (1, 2)})
    before = (tmp_path / "configuration.json").read_bytes()
    claim(tmp_path, {"recipe": {"epochs": 3, "loss": "mae"}, "sizes": (1, 2)})
    with pytest.raises(ReproError, match=r"recipe\.epochs = 3, not 4; recipe\.loss differ"):
        claim(tmp_path, {"recipe": {"epochs": 4, "loss": "mse"}, "sizes": (1, 2)})
    assert (tmp_path / "configuration.json").read_bytes() == before


def test_a_damaged_configuration_is_named(tmp_path):
    (tmp_path / "configuration.json").write_text('{"recipe"')
    with pytest.raises(ReproError, match=r"configuration\.json is damaged"):
        claim(tmp_path, {"recipe": {}})


def test_a_state_whose_configuration_is_lost_is_not_adopted(tmp_path):
    (tmp_path / "state.npz").write_bytes(b"anything")
    with pytest.raises(ReproError, match=r"holds state\.npz but no configuration\.json"):
        claim(tmp_path, {"recipe": {}})


def test_history_is_written_as_a_table_with_every_digit(tmp_path):
    model = network()
    save_epoch(tmp_path, model, State.of(model, [row(1, 1 / 3), row(2, 0.5)]), keep="last")
    header, first, _ = (tmp_path / "history.csv").read_text().splitlines()
    assert header == "epoch,loss,val_loss,seconds"
    assert [json.loads(cell) for cell in first.split(",")] == list(row(1, 1 / 3).values())


def test_weights_stand_under_their_name_only_when_they_are_whole(tmp_path, monkeypatch):
    # Killed in the midst of writing, a training was resumed with the half that was there.
    model = network()

    def killed(path):
        Path(path).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(model, "save_weights", killed)
    for stop in (
        lambda: save_epoch(tmp_path, model, State.of(model, [row(1, 0.5)]), keep="best"),
        lambda: finish(tmp_path, model, [row(1, 0.5)], "last", "one_by_one"),
    ):
        with pytest.raises(KeyboardInterrupt):
            stop()
        assert not list(tmp_path.glob("*.h5"))


SMALL_FILES = {
    "done.json": ["{}", "[]", '{"weights": "../x", "epoch": 1, "sha256": "", "history": []}'],
    "configuration.json": ["{}", "null", '{"recipe": {}, "recipe": {}}'],
}


@pytest.mark.parametrize(
    ("name", "text"), [(name, text) for name, texts in SMALL_FILES.items() for text in texts]
)
def test_a_small_file_that_lacks_something_is_named(tmp_path, name, text):
    # Each of them ended in a traceback with the status of a failed gate.
    (tmp_path / name).write_text(text)
    with pytest.raises(ReproError, match=rf"{name} is damaged"):
        read_finished(tmp_path, name)


@pytest.mark.parametrize(
    "history", ["", "{}", "[1]", '[{"epoch": 2}]', '[{"epoch": 1, "loss": "x"}]', "[" * 9999]
)
def test_a_state_with_an_odd_history_is_named(tmp_path, history):
    np.savez(tmp_path / "state.npz", history=np.array(history))
    with pytest.raises(ReproError, match=r"state\.npz is damaged"):
        load_state(tmp_path)


def test_no_flipped_byte_of_a_state_ends_in_a_riddle(tmp_path):
    model = network()
    save_epoch(tmp_path, model, State.of(model, [row(1, 0.5)]), keep="last")
    whole, draw = (tmp_path / "state.npz").read_bytes(), np.random.default_rng(0)
    for position in draw.integers(0, len(whole), TRIES):
        altered = bytearray(whole)
        altered[position] ^= int(draw.integers(1, 256))
        (tmp_path / "state.npz").write_bytes(altered)
        with contextlib.suppress(ReproError):
            load_state(tmp_path)
