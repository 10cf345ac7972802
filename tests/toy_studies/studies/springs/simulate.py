"""Springs under loads."""

import numpy as np

from repro.seeds import uniform_rows


def springs(start: int, stop: int, seed: int, parameters: dict) -> dict[str, np.ndarray]:
    """Simulate springs ``start`` to ``stop``."""
    stiffness = 1 + uniform_rows(seed, "stiffness", start, stop, 1)
    loads = np.arange(1, parameters["n_loads"] + 1)
    elongation = loads / stiffness
    return {
        "elongation": elongation.astype(np.float32),
        "stiffness": stiffness.astype(np.float32),
    }


def seconds_per_sample(parameters: dict, workers: int) -> float:
    """Say how long a spring takes [s]."""
    return 1e-6
