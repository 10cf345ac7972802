"""Sample and normalise images by the backend in force, and write all with gradients: OUT.npz."""

from __future__ import annotations

import sys

import keras
import numpy as np

from repro.layers.normalised import normalised
from repro.layers.sampling import AffineSampler, Resize, compose, inverse

DRAWS = np.random.default_rng(0)
IMAGES = DRAWS.normal(size=(3, 9, 11, 2))
MAPS = np.eye(2, 3) + 0.3 * DRAWS.normal(size=(3, 2, 3))
TO_NORMALISE = {
    "images": DRAWS.normal(size=(3, 9, 11, 2)),
    "gain": DRAWS.normal(1, 0.3, size=(1, 9, 11, 1)),
    "shift": DRAWS.normal(size=(1, 9, 11, 1)),
}


def gradients(function, *inputs):
    """Return the gradients of the sum of a function's squares by its inputs."""
    if keras.backend.backend() == "jax":
        import jax

        def total(*tensors):
            return keras.ops.sum(function(*tensors) ** 2)

        return jax.grad(total, tuple(range(len(inputs))))(*map(jax.numpy.asarray, inputs))
    import tensorflow as tf

    tensors = [tf.constant(values) for values in inputs]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        total = tf.reduce_sum(function(*tensors) ** 2)
    return [tf.convert_to_tensor(g) for g in tape.gradient(total, tensors)]


def sampled(dtype: str) -> dict[str, np.ndarray]:
    """Return images sampled in every way, and gradients by images and maps."""
    images, maps = IMAGES.astype(dtype), MAPS.astype(dtype)
    found = {"composed": compose(maps, maps[::-1]), "inverse": inverse(maps)}
    for interpolation in ("bilinear", "bicubic"):
        layer = AffineSampler(interpolation, (8, 13), dtype=dtype)
        found[interpolation] = layer(images, maps)
        by_images, by_maps = gradients(layer, images, maps)
        found |= {f"{interpolation}_by_images": by_images, f"{interpolation}_by_maps": by_maps}
        for corners in (False, True):
            resize = Resize((20, 6), interpolation, corners, dtype=dtype)
            found[f"resized_{interpolation}_{corners}"] = resize(images)
    return {name: keras.ops.convert_to_numpy(values) for name, values in found.items()}


def normalising(dtype: str) -> dict[str, np.ndarray]:
    """Return images normalised, and gradients by images, gain and shift."""
    inputs = [values.astype(dtype) for values in TO_NORMALISE.values()]
    found = {"normalised": normalised(*inputs)}
    for name, values in zip(TO_NORMALISE, gradients(normalised, *inputs), strict=True):
        found[f"normalised_by_{name}"] = values
    return {name: keras.ops.convert_to_numpy(values) for name, values in found.items()}


if __name__ == "__main__":
    np.savez(sys.argv[1], **sampled("float32"), **normalising("float32"))
