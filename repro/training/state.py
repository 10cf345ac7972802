"""What a training needs to go on as if it had never stopped, and the folder that keeps it.

A folder holds ``configuration.json`` (what is trained), ``state.npz`` (after the last whole
epoch; not needed once done), ``history.csv``, the kept weights, and at the end ``done.json``.
Every file is written under another name first and then renamed, so a kill at any moment leaves
the file of before.
"""

from __future__ import annotations

import csv
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from repro.datasets.npz import UNREADABLE, read_npz
from repro.errors import ReproError
from repro.files import check_same, read_json, replacing, sha256, write_text

CONFIGURATION = "configuration.json"
STATE = "state.npz"
HISTORY = "history.csv"
DONE = "done.json"
LOCK = ".lock"
NEEDED = {  # what the small files must say
    CONFIGURATION: ("configuration", "recipe", "seed", "backend"),
    DONE: ("weights", "epoch", "sha256", "history"),
}
KEPT_BY = {"best": "val_loss", "best_training": "loss"}  # the lowest of the history
WRITING = "writing-"  # before the names of weights that may not be whole
RENEWED = "renewed-"  # before the names of arrays in a state's file
Row = dict[str, float]


@dataclass(frozen=True)
class EpochSoFar:
    """What is done of an epoch, by all workers together.

    Parameters
    ----------
    steps, samples : int
        Batches and samples through [1].
    loss : float
        Sum of the samples' losses.
    seconds : float
        Time taken [s].
    learning_rate : float
        Of the first step [1].
    """

    steps: int = 0
    samples: int = 0
    loss: float = 0.0
    seconds: float = 0.0
    learning_rate: float = 0.0


@dataclass(frozen=True)
class State:
    """A training after a whole number of epochs, or within one when it is kept in memory.

    Parameters
    ----------
    history : list of dict
        A row per epoch with ``epoch`` (from 1), ``loss``, perhaps ``val_loss``, and more.
    model : list of numpy.ndarray
        Every variable of the network: weights, moving statistics, seed generators.
    optimizer : list of numpy.ndarray
        Every variable of the optimizer: step, moments, loss scale.
    epoch : EpochSoFar
        What is done of the epoch after the history's last; nothing in a file.
    arrays : dict of numpy.ndarray
        What was found anew between epochs, as the last epoch used it.
    """

    history: list[Row]
    model: list[np.ndarray]
    optimizer: list[np.ndarray]
    epoch: EpochSoFar = EpochSoFar()
    arrays: dict[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        model: keras.Model,
        history: list[Row],
        epoch: EpochSoFar = EpochSoFar(),
        arrays: Mapping[str, np.ndarray] | None = None,
    ) -> State:
        """Return the state of a compiled network."""
        return cls(
            history=list(history),
            model=[keras.ops.convert_to_numpy(v) for v in model.variables],
            optimizer=[keras.ops.convert_to_numpy(v) for v in model.optimizer.variables],
            epoch=epoch,
            arrays=dict(arrays or {}),
        )

    def restore(self, model: keras.Model, folder: Path) -> None:
        """Put the state into a compiled network.

        Raises
        ------
        ReproError
            If the network has other variables than the one in the folder.
        """
        variables = [*model.variables, *model.optimizer.variables]
        values = [*self.model, *self.optimizer]
        if [tuple(v.shape) for v in variables] != [v.shape for v in values]:
            raise ReproError(
                f"{folder / STATE} belongs to a network or optimizer with other variables: "
                "train the changed network in another folder."
            )
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)


def kept_epoch(history: list[Row], keep: str) -> int:
    """Return the epoch, from 1, whose weights a recipe keeps; the first of equally good ones."""
    if keep == "last":
        return len(history)
    return int(min(history, key=lambda row: row[KEPT_BY[keep]])["epoch"])


def columns(history: list[Row]) -> dict[str, list[float]]:
    """Return a history as one list per column."""
    return {name: [row[name] for row in history] for name in history[0]}


def weights_name(keep: str) -> str:
    """Return the name of the file with the kept weights."""
    return f"{keep}.weights.h5"


# ---- the folder


def claim(folder: Path, configuration: dict[str, Any]) -> None:
    """Write down what is trained in the folder, or refuse a folder with something else.

    Raises
    ------
    ReproError
        If the folder holds a training of another configuration.
    """
    ours = json.loads(json.dumps(configuration))
    path = folder / CONFIGURATION
    if path.exists():
        remedy = "give the same settings to resume it, or another folder"
        check_same(f"{folder} holds a training", _read(path), ours, remedy)
    else:
        _refuse_unclaimed(folder)
        write_text(path, json.dumps(ours, indent=2) + "\n")


def read_finished(folder: Path, name: str) -> dict[str, Any]:
    """Return the content of one of a finished training's JSON files, with all it must have.

    Raises
    ------
    ReproError
        If the training is not finished, or the file is damaged.
    """
    path = folder / name
    if not path.exists():
        raise ReproError(
            f"{folder} holds no finished training ({name} is missing): train there first; the "
            "same command resumes."
        )
    content = read_json(path, _remedy(path), NEEDED[name])
    if name == DONE:
        try:
            _checked(content["history"])
        except ValueError as error:
            raise _damaged(path, str(error)) from None
        if Path(str(content["weights"])).name != content["weights"]:
            raise _damaged(path, "its weights lie elsewhere")
    return content


def save_epoch(folder: Path, model: keras.Model, state: State, keep: str) -> None:
    """Write the state after an epoch, the history, and the weights if they are the best yet.

    The best weights wait under a name with their epoch until the state that knows them is
    written: a kill in between can never leave weights and history of different trainings.
    """
    epoch = len(state.history)
    if keep != "last" and kept_epoch(state.history, keep) == epoch:
        _save_weights(model, _pending(folder, epoch))
    with replacing(folder / STATE) as path, path.open("wb") as file:
        np.savez(file, **_members(state))
    settle(folder, state, keep)


def load_state(folder: Path) -> State | None:
    """Return the state after the last whole epoch, or None before the first is through.

    Raises
    ------
    ReproError
        If the file is damaged.
    """
    path = folder / STATE
    if not path.exists():
        return None
    try:
        members = read_npz(path)
        return State(
            history=_checked(json.loads(members["history"].item())),
            model=_numbered(members, "model"),
            optimizer=_numbered(members, "optimizer"),
            arrays={
                name.removeprefix(RENEWED): array
                for name, array in members.items()
                if name.startswith(RENEWED)
            },
        )
    except (*UNREADABLE, RecursionError) as error:
        raise _damaged(path, str(error) or "cut short") from None


def _checked(history: Any) -> list[Row]:
    """Return a history, if it is one row of numbers an epoch."""
    rows = history if isinstance(history, list) else [None]
    for epoch, row in enumerate(rows, start=1):
        if not isinstance(row, dict) or row.keys() != rows[0].keys() or row.get("epoch") != epoch:
            raise ValueError(f"epoch {epoch} of its history is no row")
        if not all(type(value) in (int, float) for value in row.values()):
            raise ValueError(f"epoch {epoch} of its history holds what is no number")
    return rows


def settle(folder: Path, state: State, keep: str) -> None:
    """Bring weights and history into step with the state; clear away what a kill left."""
    if keep != "last":
        pending = _pending(folder, kept_epoch(state.history, keep))
        if pending.exists():
            pending.replace(folder / weights_name(keep))
    for pattern in ("pending-*.weights.h5", f"{WRITING}*.weights.h5", "*.partial"):
        for leftover in folder.glob(pattern):
            leftover.unlink()
    with replacing(folder / HISTORY) as path, path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, fieldnames=list(state.history[0]))
        table.writeheader()
        table.writerows(state.history)


def finish(folder: Path, model: keras.Model, history: list[Row], keep: str, way: str) -> None:
    """Write the last weights if they are kept, and the marker that the training is done.

    Parameters
    ----------
    folder : pathlib.Path
        The training's folder.
    model : keras.Model
        The network; it gets the kept weights.
    history : list of dict
        A row per epoch.
    keep : str
        Which weights the recipe keeps.
    way : str
        How the last steps were taken.
    """
    weights = folder / weights_name(keep)
    if keep == "last":
        pending = _pending(folder, len(history))
        _save_weights(model, pending)
        pending.replace(weights)
    load_weights(model, weights)
    done = {
        "weights": weights.name,
        "epoch": kept_epoch(history, keep),
        "sha256": sha256(weights),
        "steps": way,
        "history": history,
    }
    write_text(folder / DONE, json.dumps(done, indent=2) + "\n")


def load_weights(model: keras.Model, path: Path, expected: str | None = None) -> None:
    """Load weights, after a look at the file's checksum if one is expected.

    Raises
    ------
    ReproError
        If the file is missing or damaged, or of another network.
    """
    if not path.exists():
        raise _damaged(path, "missing")
    if expected is not None and sha256(path) != expected:
        raise _damaged(path, "other checksum")
    try:
        model.load_weights(path)
    except OSError as error:
        raise _damaged(path, str(error)) from None
    except (ValueError, KeyError) as error:
        raise ReproError(
            f"{path} does not fit the network ({str(error).splitlines()[0]}): "
            "use the code that trained it, or train in another folder."
        ) from None


def _refuse_unclaimed(folder: Path) -> None:
    for name in (STATE, DONE):
        if (folder / name).exists():
            raise ReproError(
                f"{folder} holds {name} but no {CONFIGURATION}: choose another folder, or put "
                "the missing file back."
            )


def _members(state: State) -> dict[str, np.ndarray]:
    members = {"history": np.array(json.dumps(state.history))}
    for name in ("model", "optimizer"):
        members |= {f"{name}-{i}": value for i, value in enumerate(getattr(state, name))}
    return members | {f"{RENEWED}{name}": array for name, array in state.arrays.items()}


def _numbered(members: dict[str, np.ndarray], name: str) -> list[np.ndarray]:
    count = sum(member.startswith(f"{name}-") for member in members)
    return [members[f"{name}-{i}"] for i in range(count)]


def _pending(folder: Path, epoch: int) -> Path:
    return folder / f"pending-{epoch}.weights.h5"


def _save_weights(model: keras.Model, path: Path) -> None:
    """Write weights under another name, since a file that stands at ``path`` is taken for whole."""
    writing = path.with_name(f"{WRITING}{secrets.token_hex(4)}.weights.h5")
    try:
        model.save_weights(writing)
        with writing.open("rb") as file:
            os.fsync(file.fileno())
        writing.replace(path)
    except OSError as error:
        raise ReproError(
            f"{path} cannot be written ({error}): make room and run the same command again; "
            "the state of the epoch before is kept."
        ) from None
    finally:
        writing.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Any]:
    return read_json(path, _remedy(path))


def _remedy(path: Path) -> str:
    return f"put back a copy, or remove {path.parent} and train again"


def _damaged(path: Path, reason: str) -> ReproError:
    return ReproError(f"{path} is damaged ({reason}): {_remedy(path)}.")
