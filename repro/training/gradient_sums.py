"""Sums of gradients over the ranks, by the format in which they travel.

Each function takes the module ``horovod.tensorflow`` and a list of tensors of any shape, the same
on every rank, and returns their sums over the ranks in the shapes and types they came in.
"""

from __future__ import annotations

import math
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf

    Tensors = list[tf.Tensor]


def sum_float32(hvd: ModuleType, gradients: Tensors) -> Tensors:
    """Add in the format that gradients have."""
    return hvd.grouped_allreduce(gradients, op=hvd.Sum)


def sum_float16(hvd: ModuleType, gradients: Tensors) -> Tensors:
    """Add in float16, as they travel."""
    import tensorflow as tf

    summed = hvd.grouped_allreduce([tf.cast(g, tf.float16) for g in gradients], op=hvd.Sum)
    return [tf.cast(s, g.dtype) for s, g in zip(summed, gradients, strict=True)]


def sum_bfloat16(hvd: ModuleType, gradients: Tensors) -> Tensors:
    """Add in float32 what travels in bfloat16, which Horovod itself cannot add.

    Each rank adds up one part of the gradients and gives it to all: the traffic is that of a ring.
    """
    import tensorflow as tf

    flat = tf.concat([tf.reshape(g, [-1]) for g in gradients], axis=0)
    n_values, n_ranks = flat.shape[0], hvd.size()
    part = math.ceil(n_values / n_ranks)
    flat = tf.pad(flat, [[0, part * n_ranks - n_values]])
    parts = _from_bytes(hvd.alltoall(_to_bytes(flat)))
    added = tf.reduce_sum(tf.reshape(parts, [n_ranks, part]), axis=0)
    whole = _from_bytes(hvd.allgather(_to_bytes(added)))[:n_values]
    pieces = tf.split(whole, [math.prod(g.shape) for g in gradients])
    return [
        tf.reshape(tf.cast(piece, g.dtype), g.shape)
        for piece, g in zip(pieces, gradients, strict=True)
    ]


def _to_bytes(values: tf.Tensor) -> tf.Tensor:
    import tensorflow as tf

    return tf.reshape(tf.bitcast(tf.cast(values, tf.bfloat16), tf.uint8), [-1])


def _from_bytes(values: tf.Tensor) -> tf.Tensor:
    import tensorflow as tf

    return tf.cast(tf.bitcast(tf.reshape(values, [-1, 2]), tf.bfloat16), tf.float32)


SUMS = {"none": sum_float32, "float16": sum_float16, "bfloat16": sum_bfloat16}
