"""Parameters and forward floating-point operations of a Keras network.

Counted are the multiplications and additions of convolutions, dense layers and attention, two
operations for each multiply-add. Biases, normalisation, activations, pooling, resampling and
Fourier transforms count nothing: they take memory bandwidth rather than arithmetic. A layer of
ours says itself what it costs: `repro.layers.counted.Counted`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from repro.errors import ReproError

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Cost:
    """What a network holds and what one sample costs.

    Parameters
    ----------
    parameters : int
        Weights, those that are not trained included.
    flops : int
        Floating-point operations of one forward pass of one sample.
    moved : int
        Numbers that the counted layers read and write in that pass, weights aside: the least that
        goes through memory if all else is fused with them.
    """

    parameters: int
    flops: int
    moved: int = 0


@dataclass(frozen=True)
class Call:
    """One call of a layer with the shapes of all its input tensors and of its first output."""

    layer: Any
    inputs: list[Shape]
    output: Shape


def network_cost(model: Any, inputs: Any = None) -> Cost:
    """Count a network's parameters and the operations of one sample's forward pass.

    The network is run once, on one sample of zeros, and every call of a layer is counted where
    it happens: in nested models, in layers made of layers, and as often as a layer is used.

    Parameters
    ----------
    model : keras.Model
        A built network.
    inputs : array, list or dict of arrays, optional
        One sample with a batch axis of 1, for a network that does not state its input shapes.

    Raises
    ------
    ReproError
        If the input shapes are not known, or a layer with weights is of a kind whose cost is not
        known here, or was not called.
    """
    calls = _recorded_calls(model, _zeros(model) if inputs is None else inputs)
    flops, moved, counted = 0, 0, set()
    for call in calls:
        formula = _formula(call.layer)
        if formula is not None:
            flops += formula(call)
            moved += sum(map(math.prod, [*call.inputs, call.output]))
            counted |= _own_weights(call.layer)
    uncounted = [w.path for w in model.trainable_weights if id(w) not in counted]
    if uncounted:
        raise ReproError(
            f"The cost of the network {model.name} is unknown: its weight {uncounted[0]} belongs "
            f"to a kind of layer without a formula in repro/bench/flops.py, or to a layer that "
            f"is never called; add a formula there, or derive a layer of yours from "
            f"repro.layers.counted.Counted."
        )
    return Cost(parameters=int(model.count_params()), flops=int(flops), moved=int(moved))


def _zeros(model: Any) -> Any:
    """Return one sample of zeros for a network that states its input shapes."""
    import keras

    def zeros(tensor: Any) -> np.ndarray:
        if None in tensor.shape[1:]:
            raise ReproError(
                f"The network {model.name} takes inputs of any size, here {tensor.shape}: give "
                f"one sample of the size to count."
            )
        return np.zeros((1, *tensor.shape[1:]), dtype=tensor.dtype)

    if not hasattr(model, "inputs") or model.inputs is None:
        raise ReproError(
            f"The network {model.name} does not state its input shapes: give one sample."
        )
    sequential = isinstance(model, keras.Sequential)
    return keras.tree.map_structure(zeros, model.inputs[0] if sequential else model.input)


def _recorded_calls(model: Any, inputs: Any) -> list[Call]:
    """Run a network once and return every call of a layer, the inner ones first."""
    calls: list[Call] = []
    with _every_call(lambda *call: calls.append(_call(*call))):
        model(inputs, training=False)
    return calls


@contextmanager
def _every_call(seen: Callable[..., None]) -> Iterator[None]:
    """Pass each layer, its arguments and its result to a function, wherever it is called."""
    from keras.layers import Layer

    original = Layer.__call__

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(layer, *args, **kwargs)
        seen(layer, (args, kwargs), result)
        return result

    Layer.__call__ = call
    try:
        yield
    finally:
        Layer.__call__ = original


def _call(layer: Any, arguments: Any, result: Any) -> Call:
    return Call(layer, _shapes(arguments), (_shapes(result) or [()])[0])


def _shapes(content: Any) -> list[Shape]:
    import keras

    tensors = [item for item in keras.tree.flatten(content) if hasattr(item, "shape")]
    return [tuple(int(n) for n in tensor.shape) for tensor in tensors]


def _own_weights(layer: Any) -> set[int]:
    """Return the weights a formula answers for: none of attention, whose dense layers do."""
    import keras

    if isinstance(layer, keras.layers.MultiHeadAttention):
        return set()
    return {id(weight) for weight in layer.weights}


def _formula(layer: Any) -> Callable[[Call], int] | None:
    return next((f for kinds, f in _formulas() if isinstance(layer, kinds)), None)


def _formulas() -> list[tuple[tuple[type, ...], Callable[[Call], int]]]:
    """Return the kinds of layers whose cost is known; the first kind that fits counts."""
    from keras import layers

    from repro.layers.counted import Counted

    transposed = (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)
    # Built-in depthwise and separable layers are no subclasses of the plain ones.
    return [
        (transposed, _transposed_convolution),
        ((layers.Conv1D, layers.Conv2D, layers.Conv3D), _convolution),
        ((layers.DepthwiseConv1D, layers.DepthwiseConv2D), _convolution),
        ((layers.SeparableConv1D, layers.SeparableConv2D), _separable_convolution),
        ((layers.Dense,), _dense),
        ((layers.EinsumDense,), _einsum_dense),
        ((layers.MultiHeadAttention,), _attention),
        ((Counted,), lambda call: call.layer.flops(call.inputs, call.output)),
        (
            (
                layers.BatchNormalization,
                layers.LayerNormalization,
                layers.GroupNormalization,
                layers.RMSNormalization,
                layers.Normalization,
                layers.Embedding,
                layers.PReLU,
            ),
            lambda call: 0,
        ),
    ]


def _positions(shape: Shape, data_format: str) -> int:
    """Return the number of grid points of a feature map, batch included."""
    channels = shape[1] if data_format == "channels_first" else shape[-1]
    return math.prod(shape) // channels


def _convolution(call: Call) -> int:
    """Each output point takes one product with the kernel, groups and depth being in its shape."""
    return 2 * _positions(call.output, call.layer.data_format) * math.prod(call.layer.kernel.shape)


def _transposed_convolution(call: Call) -> int:
    """Each input point is spread over the output by one product with the kernel."""
    return (
        2 * _positions(call.inputs[0], call.layer.data_format) * math.prod(call.layer.kernel.shape)
    )


def _separable_convolution(call: Call) -> int:
    kernels = (call.layer.depthwise_kernel, call.layer.pointwise_kernel)
    size = sum(math.prod(kernel.shape) for kernel in kernels)
    return 2 * _positions(call.output, call.layer.data_format) * size


def _dense(call: Call) -> int:
    return 2 * math.prod(call.inputs[0]) * call.layer.units


def _einsum_dense(call: Call) -> int:
    """One multiply-add for each combination of the indices of input and kernel."""
    operands = call.layer.equation.split("->")[0]
    of_input, of_kernel = operands.split(",")
    lengths = zip(of_kernel, call.layer.kernel.shape, strict=True)
    return 2 * math.prod(call.inputs[0]) * math.prod(n for i, n in lengths if i not in of_input)


def _attention(call: Call) -> int:
    """Scores and weighted sums; the projections are dense layers, counted where they are called.

    The lengths are products over the axes between batch and features.
    """
    layer = call.layer
    query, value = call.inputs[:2]
    pairs = query[0] * math.prod(query[1:-1]) * math.prod(value[1:-1])
    return 2 * pairs * layer.num_heads * (layer.key_dim + layer.value_dim)
