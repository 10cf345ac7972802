"""Times training steps of the published U-Net as one of several ranks, on one core each.

Called with a JSON of ``widths``, ``batch_size`` (of all ranks together), ``n_steps``, ``core`` and
``plain``: whether to time steps without Horovod too, turn by turn. Prints the times [s] as JSON.
"""

from __future__ import annotations

import json
import os
import sys
from time import perf_counter

import keras
import numpy as np

from repro.datasets.batches import Share
from repro.studies.mamba.model import faithful_unet
from repro.training.distributed import join

N_WARMUP = 2
N_POINTS = 3840


def compiled(widths):
    """Return the U-Net, ready to train."""
    keras.utils.set_random_seed(0)
    model = faithful_unet(widths)
    model.compile(optimizer="adam", loss="mae", jit_compile=False)
    return model


def seconds(model, batch):
    """Return how long a step takes [s]."""
    begin = perf_counter()
    model.train_on_batch(*batch)
    return perf_counter() - begin


def main(options):
    """Take the steps; the leading rank tells their times."""
    os.sched_setaffinity(0, {options["core"]})
    with join() as world:
        share = Share.of(options["batch_size"], world.rank, world.size)
        world.take(share)
        rng = np.random.default_rng(world.rank)
        batch = rng.standard_normal((2, share.counted, N_POINTS, 1), dtype=np.float32)
        models = {"together": compiled(options["widths"])}
        world.average_gradients(models["together"].optimizer, "none")
        if options["plain"]:
            models["plain"] = compiled(options["widths"])
        times = {name: [] for name in models}
        for _ in range(N_WARMUP + options["n_steps"]):
            for name, model in models.items():
                times[name].append(seconds(model, batch))
    if world.leads:
        counted = {name: of_model[N_WARMUP:] for name, of_model in times.items()}
        sys.stdout.write(json.dumps(counted))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
