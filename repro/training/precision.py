"""The number format of a network, and determinism."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from repro.backend import settle_keras
from repro.errors import ReproError

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
DETERMINISTIC_XLA = "--xla_gpu_deterministic_ops=true"


def check_precision(name: str) -> None:
    """Refuse a precision that is not known.

    Raises
    ------
    ReproError
        If ``name`` is none of ``PRECISIONS``.
    """
    if name not in PRECISIONS:
        raise ReproError(f"Precision '{name}' is not known: choose one of {', '.join(PRECISIONS)}.")


@contextlib.contextmanager
def precision(name: str) -> Iterator[None]:
    """Build networks in one precision; the policy that was in force comes back afterwards.

    Under the mixed policies variables stay float32, layers compute in 16 bit, and losses are
    float32; a network's last layer must say ``dtype="float32"`` for a float32 output.

    Parameters
    ----------
    name : str
        ``"float32"``, ``"mixed_bfloat16"`` or ``"mixed_float16"``.

    Raises
    ------
    ReproError
        If the precision is not known.
    """
    import keras

    check_precision(name)
    settle_keras()
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def enable_determinism() -> None:
    """Make every operation give the same bits each time, at some cost in speed.

    Call it before the first operation: XLA reads its flags once. Equal bits are promised for one
    machine, one version of the backend and one number of threads: threads split up the sums.
    """
    import keras

    flags = os.environ.get("XLA_FLAGS", "")
    if DETERMINISTIC_XLA not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {DETERMINISTIC_XLA}".strip()
    if keras.config.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
