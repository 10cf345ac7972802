"""Layers of ours that say what they cost, so that `repro.bench.flops` can count them."""

from __future__ import annotations

from abc import abstractmethod

from keras import layers


class Counted(layers.Layer):
    """A layer with weights of its own that states its floating-point operations."""

    @abstractmethod
    def flops(self, inputs: list[tuple[int, ...]], output: tuple[int, ...]) -> int:
        """Return the operations of one call, two for each multiply-add.

        Parameters
        ----------
        inputs : list of tuple
            Shapes of all input tensors, batch included.
        output : tuple of int
            Shape of the first output tensor.
        """
