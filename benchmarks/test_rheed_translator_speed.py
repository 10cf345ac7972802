"""Speed of the published translator of `rheed_translator` beside the same network in PyTorch.

The two take turns in the same run, on the GPU that Keras uses, or on all cores.
"""

from itertools import pairwise

import keras
import numpy as np
import pytest

from repro.bench.device import gpu_name
from repro.studies.rheed_translator.published.model import LossWeights, published_translator
from repro.studies.rheed_translator.published.transposed import Conv2DTranspose
from repro.training.recipe import is_compiled

HEIGHT, WIDTH, BATCH = 540, 720, 4
LEARNING_RATE = 1e-4


@pytest.fixture(scope="module")
def films():
    """Return as many films as a batch has, both modalities scaled to 0 to 1."""
    draws = np.random.default_rng(0)
    return {
        "image": draws.random((BATCH, HEIGHT, WIDTH, 1), dtype=np.float32),
        "stoichiometry": draws.random((BATCH, 1), dtype=np.float32),
    }


def torch_step(torch, films, weights, **options):
    """Return one step of the published network and its training, as a PyTorch user writes it.

    ``options`` go to Adam; without them it is the published one.
    """
    nn, mse = torch.nn, torch.nn.functional.mse_loss
    rows, columns = -(-HEIGHT // 8), -(-WIDTH // 8)
    flat = 64 * rows * columns

    def two_layers(n_inputs, n_hidden, n_outputs):
        return nn.Sequential(
            nn.Linear(n_inputs, n_hidden), nn.ReLU(), nn.Linear(n_hidden, n_outputs)
        )

    def convolutions(kind, kernel, widths):
        for n_inputs, n_outputs in pairwise(widths):
            yield kind(n_inputs, n_outputs, kernel, stride=2, padding=1)
            yield nn.ReLU()

    blocks = nn.ModuleDict(
        {
            "image_encoder": nn.Sequential(
                *convolutions(nn.Conv2d, 3, (1, 4, 16, 64)),
                nn.Flatten(),
                two_layers(flat, 64, 48),
            ),
            "stoichiometry_encoder": two_layers(1, 2, 48),
            "shared_encoder": two_layers(48, 24, 12),
            "shared_decoder": two_layers(12, 24, 48),
            "image_decoder": nn.Sequential(
                two_layers(48, 64, flat),
                nn.ReLU(),
                nn.Unflatten(1, (64, rows, columns)),
                *list(convolutions(nn.ConvTranspose2d, 4, (64, 16, 4, 1)))[:-1],
                nn.Sigmoid(),
            ),
            "stoichiometry_decoder": two_layers(48, 2, 1),
        }
    )
    device = "cuda" if gpu_name() else "cpu"
    blocks.to(device)
    optimizer = torch.optim.Adam(blocks.parameters(), lr=LEARNING_RATE, **options)
    batch = {
        "image": torch.from_numpy(films["image"]).permute(0, 3, 1, 2).contiguous(),
        "stoichiometry": torch.from_numpy(films["stoichiometry"]),
    }

    def step():
        inputs = {name: values.to(device) for name, values in batch.items()}
        optimizer.zero_grad()
        codes, parts = {}, {}
        for source in inputs:
            codes[source] = blocks["shared_encoder"](blocks[f"{source}_encoder"](inputs[source]))
            features = blocks["shared_decoder"](codes[source])
            for target in inputs:
                answer = blocks[f"{target}_decoder"](features)
                if target == "image":
                    answer = answer[:, :, :HEIGHT, :WIDTH]
                parts[f"{source}_to_{target}"] = mse(answer, inputs[target])
        parts["latent"] = mse(codes["image"], codes["stoichiometry"])
        loss = weights.total(parts)
        loss.backward()
        optimizer.step()
        return loss.item()

    assert sum(parameter.numel() for parameter in blocks.parameters()) == 50_563_682
    return step


def keras_step(films, weights):
    """Return one step of ours, as `repro.training.fit` takes it."""
    model = published_translator(HEIGHT, WIDTH, weights)
    model.compile(keras.optimizers.Adam(LEARNING_RATE), loss=None, jit_compile=is_compiled())
    assert model.count_params() == 50_563_682
    return lambda: model.train_on_batch(films, films["stoichiometry"])


def decoder_step(layer):
    """Return one step of the image's decoder from its largest layer on, of a kind of layer."""
    rows, columns = -(-HEIGHT // 8), -(-WIDTH // 8)
    features = x = keras.layers.Input((rows, columns, 64))
    for filters in (16, 4, 1):
        x = layer(filters, kernel_size=4, strides=2, padding="same", activation="relu")(x)
    model = keras.Model(features, x)
    model.compile("sgd", "mse", jit_compile=is_compiled())
    draws = np.random.default_rng(0)
    known = draws.random((BATCH, rows, columns, 64), dtype=np.float32)
    wanted = draws.random((BATCH, 8 * rows, 8 * columns, 1), dtype=np.float32)
    return lambda: model.train_on_batch(known, wanted)


@pytest.mark.skipif(keras.config.backend() != "jax", reason="the layer is Keras's but for JAX")
def test_transposed_convolutions_against_those_of_keras(benchmark, take_short_turns):
    """Steps of the decoder's transposed convolutions alone."""
    kinds = {"ours": Conv2DTranspose, "keras": keras.layers.Conv2DTranspose}
    seconds = take_short_turns(**{name: decoder_step(kind) for name, kind in kinds.items()})
    benchmark.extra_info["speedup_over_keras"] = seconds["keras"] / seconds["ours"]


def test_training_step_of_the_published_translator_against_pytorch(
    benchmark, torch, films, take_short_turns
):
    """Steps at full size; PyTorch's Adam as published, and the fastest that it has."""
    weights = LossWeights()
    programs = {
        "ours": keras_step(films, weights),
        "pytorch": torch_step(torch, films, weights),
        "pytorch_fused_adam": torch_step(torch, films, weights, fused=True),
    }
    seconds = take_short_turns(**programs)
    benchmark.extra_info |= {
        "threads": torch.get_num_threads(),
        "films_per_second": BATCH / seconds["ours"],
        "speedup_over_pytorch": seconds["pytorch"] / seconds["ours"],
        "speedup_over_pytorch_fused_adam": seconds["pytorch_fused_adam"] / seconds["ours"],
    }
