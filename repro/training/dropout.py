"""Dropout that does not depend on how many workers share a batch."""

from __future__ import annotations

import keras
from keras import ops

from repro.training.world import current


@keras.saving.register_keras_serializable(package="repro")
class Dropout(keras.layers.Dropout):
    """Keras's dropout, with the mask drawn for the whole batch on every worker.

    Each worker uses the rows of its own samples, so that a sample meets the same mask whatever the
    number of workers.

    Parameters
    ----------
    rate : float
        Share of the values that are set to 0 in training; the others are divided by ``1 - rate``.
    seed : int, optional
        Seed of the masks; by default drawn from Keras's global one.
    """

    def call(self, inputs, training=False):
        """Return the inputs, ``(n, ...)``, in training with some of them set to 0."""
        if not training or self.rate == 0:
            return inputs

        def draw(n_samples):
            return keras.random.uniform((n_samples, *inputs.shape[1:]), seed=self.seed_generator)

        noise = current().rows_of_batch(draw, ops.shape(inputs)[0])
        # One product, a tenth of a small network's step less than a choice between two tensors.
        kept = ops.cast(noise >= self.rate, inputs.dtype)
        return inputs * (kept * (1 / (1 - self.rate)))
