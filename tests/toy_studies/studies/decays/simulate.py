"""Decays above a background."""

import numpy as np

from repro.seeds import uniform_rows


def decays(start: int, stop: int, seed: int, parameters: dict) -> dict[str, np.ndarray]:
    """Simulate decays ``start`` to ``stop``."""
    draws = uniform_rows(seed, "decays", start, stop, 2)
    time_constant, background = 1 + draws[:, :1], draws[:, 1:]
    times = np.linspace(0, 3, parameters["n_times"])
    arrays = {
        "signal": np.exp(-times / time_constant) + background,
        "background": background,
        "time_constant": time_constant,
    }
    return {name: values.astype(np.float32) for name, values in arrays.items()}
