"""How the steps of a training can be taken; all ways follow the same course but for rounding."""

from __future__ import annotations

from repro.backend import check_backend
from repro.errors import ReproError

ONE_BY_ONE, ON_DEVICE, SCAN = WAYS = ("one_by_one", "on_device", "scan")


def default_way(backend: str) -> str:
    """Return how steps are taken under a backend unless a user chooses."""
    return ON_DEVICE if backend == "jax" else ONE_BY_ONE


def check_way(way: str | None) -> str:
    """Return how steps are taken: as a user chose, or as the backend does best.

    Parameters
    ----------
    way : str or None
        ``"one_by_one"``, by Keras's ``train_on_batch``; under JAX also ``"on_device"``, a call of
        a compiled step each, or ``"scan"``, many steps in a call.

    Raises
    ------
    ReproError
        If the way is not known, or not possible under this backend.
    """
    if way is not None and way not in WAYS:
        raise ReproError(f"Steps cannot be taken '{way}': choose one of {', '.join(WAYS)}.")
    check_backend()
    import keras

    backend = keras.config.backend()
    way = way or default_way(backend)
    if way != ONE_BY_ONE and backend != "jax":
        raise ReproError(
            f"Steps are taken '{way}' under JAX only, and the backend is {backend}: set "
            f"KERAS_BACKEND=jax, or choose {ONE_BY_ONE}."
        )
    return way
