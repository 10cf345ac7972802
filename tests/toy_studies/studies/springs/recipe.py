"""How the network is trained."""

from functools import partial

from repro.studies.springs.model import build_model

from repro.datasets.batches import gather
from repro.study import Task
from repro.training.recipe import Recipe


def tasks(variant, preset, dataset):
    """Return the one task."""
    mean, deviation = dataset.statistics("elongation")
    elongation = (dataset.array("elongation") - mean) / deviation
    width = 8 if variant == "improved" else 4
    return [
        Task(
            name="stiffness",
            build_model=partial(build_model, elongation.shape[1], width),
            load=gather(elongation.astype("float32"), dataset.array("stiffness")),
            recipe=Recipe(epochs=2, batch_size=16, learning_rate=1e-2),
        )
    ]
