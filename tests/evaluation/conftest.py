import copy

import numpy as np
import pytest

from repro.evaluation.claims import Claim
from repro.evaluation.records import Record

BASE = {
    "study": "mamba",
    "variant": "faithful",
    "preset": "paper",
    "experiment": "layers_12",
    "status": "ok",
    "command": "repro run mamba --preset paper",
    "data": {
        "name": "mamba",
        "version": 1,
        "fingerprint": "f" * 64,
        "checksum": "c" * 64,
        "counts": {"train": 90000, "validation": 10000, "test": 1000},
        "parameters": {"n_layers": 12},
    },
    "networks": {
        "real": {"parameters": 10, "flops": 20.0, "recipe": {"epochs": 30}},
        "imag": {"parameters": 10, "flops": None, "recipe": {"epochs": 30}},
    },
    "hashes": {name: name for name in ("code", "metrics", "data", "configuration", "environment")},
    "environment": {
        "python": "3.11.9",
        "packages": {"numpy": "2.4.0"},
        "processor": "Some processor",
        "cores": 2,
        "memory_gb": 8.0,
        "gpu": None,
        "flags": {
            "backend": "tensorflow",
            "precision": "float32",
            "xla": False,
            "determinism": True,
            "threads": 2,
            "world_size": 1,
        },
    },
}


@pytest.fixture
def make_record():
    """A function from metric values, ``name=[one a seed]``, to a record of a paper-scale run.

    ``reach``: how far the samples leave each metric open, as the largest deviation of a resample.
    """

    def make(
        metrics,
        better="lower",
        unit="1",
        definition="as defined",
        hashes=None,
        reach=0.0,
        n_units=1000,
        is_share=False,
        **changes,
    ):
        content = copy.deepcopy(BASE)
        sampled = {
            "unit": "film",
            "split": "test",
            "n_units": n_units,
            "n_samples": n_units,
            "is_share": is_share,
            "deviations": np.linspace(-reach, reach, 41).tolist(),
        }
        content["metrics"] = {
            name: {
                "unit": unit,
                "better": better,
                "definition": definition,
                "values": {str(seed): value for seed, value in enumerate(values)},
                "sampled": sampled,
            }
            for name, values in metrics.items()
        }
        content["seeds"] = list(range(max(map(len, metrics.values()), default=1)))
        content["hashes"] |= hashes or {}
        return Record.model_validate(content | changes)

    return make


@pytest.fixture
def make_claim():
    """A function from a few fields to a claim on the experiment of 12 layers."""

    def make(**fields):
        defaults = {
            "id": "mae",
            "statement": "The MAE is 0.124.",
            "where": "Table 1",
            "kind": "number",
            "metric": "mae",
            "reported": 0.124,
            "better": "lower",
            "margin": 0.006,
            "margin_reason": "fixed for this test",
            "experiment": "layers_12",
        }
        if fields.get("kind") == "order":
            for name in ("metric", "reported"):
                defaults.pop(name)
        return Claim.model_validate(defaults | fields)

    return make
