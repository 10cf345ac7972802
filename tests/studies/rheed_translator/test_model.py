"""The published translator is the published one, path by path, and so is the gated CNN."""

from __future__ import annotations

from itertools import pairwise, product

import keras
import numpy as np
import pytest
from keras import layers, ops
from scipy.signal import convolve2d, correlate2d

from repro.datasets.batches import Batches, gather
from repro.errors import ReproError
from repro.studies.rheed_translator.published.model import (
    CODES,
    CYCLES,
    MODALITIES,
    PATHS,
    LossWeights,
    encoder,
    gated_cnn,
    loss_parts,
    path,
    published_translator,
)
from repro.studies.rheed_translator.published.translation import said_by
from repro.studies.rheed_translator.published.transposed import (
    Conv2DTranspose,
    transposed_convolution,
)
from repro.training.dropout import Dropout
from repro.training.fit import fit
from repro.training.precision import precision
from repro.training.recipe import Recipe

PUBLISHED = LossWeights()
WITH_CYCLES = LossWeights(image_cycle=0.5, stoichiometry_cycle=2.0)
MIXED = ("mixed_bfloat16", "mixed_float16")
# Printed by the authors every 1000 epochs: total, i2i, i2s, s2i, s2s, latent.
PRINTED = """
2.1912 .1980 .1171 .1980 .1317 .0219
.0390 .0014 .0000 .0037 .0658 .1579
.0370 .0010 .0002 .0036 .0118 .0691
.0312 .0009 .0001 .0030 .0114 .0616
.0270 .0007 .0000 .0026 .0085 .0678
.0258 .0006 .0000 .0025 .0077 .0617
.0224 .0006 .0002 .0022 .0075 .0515
.0211 .0005 .0000 .0021 .0071 .0438
.0201 .0004 .0000 .0020 .0066 .0395
.0191 .0005 .0001 .0019 .0064 .0381
.0180 .0005 .0000 .0017 .0060 .0354
"""


def films(height=21, width=30, n=3):
    rng = np.random.default_rng(0)
    return {
        "image": rng.random((n, height, width, 1), dtype=np.float32),
        "stoichiometry": rng.random((n, 1), dtype=np.float32),
    }


def translator(height=21, width=30, weights=PUBLISHED, seed=0):
    """Return a translator whose narrow layers, of two units, are not dead by chance."""
    keras.utils.set_random_seed(seed)
    model = published_translator(height, width, weights)
    for name in ("stoichiometry_encoder", "stoichiometry_decoder"):
        hidden = model.get_layer(name).layers[1]
        hidden.bias.assign([0.5, 0.3])
        hidden.kernel.assign(np.abs(hidden.kernel) / 4)
    return model


@pytest.fixture(scope="module")
def small():
    """A translator of small images, with cycles."""
    return translator(weights=WITH_CYCLES)


@pytest.fixture(scope="module")
def answers(small):
    return said_by(small, films())


# ---- the layers


def test_every_block_has_as_many_weights_as_the_published_one():
    model = published_translator(540, 720)
    assert {block.name: block.count_params() for block in model.layers if block.weights} == {
        "image_encoder": 25_080_616,
        "stoichiometry_encoder": 148,
        "shared_encoder": 1_476,
        "shared_decoder": 1_512,
        "image_decoder": 25_479_829,
        "stoichiometry_decoder": 101,
    }
    assert model.count_params() == 50_563_682


def test_there_is_a_relu_between_layers_and_none_at_the_end_of_a_block(small):
    def activations(name):
        block = small.get_layer(name).layers
        return [layer.activation.__name__ for layer in block if hasattr(layer, "activation")]

    assert activations("image_encoder") == [*4 * ["relu"], "linear"]
    assert activations("image_decoder") == [*4 * ["relu"], "linear", "sigmoid"]
    for name in ("stoichiometry_encoder", "shared_encoder", "shared_decoder"):
        assert activations(name) == ["relu", "linear"]
    assert activations("stoichiometry_decoder") == ["relu", "linear"]


@pytest.mark.parametrize("size", [(45, 61), (48, 64), (17, 9)])
def test_images_come_back_in_their_own_size_and_within_their_scale(size):
    answers = said_by(published_translator(*size), films(*size))
    for source in MODALITIES:
        image = answers[f"{source}_to_image"]
        assert image.shape == (3, *size, 1)
        assert image.min() >= 0
        assert image.max() <= 1
        assert answers[f"{source}_to_stoichiometry"].shape == (3, 1)
        assert answers[f"{source}_code"].shape == (3, 12)


def test_rows_and_columns_too_many_are_cut_at_the_end():
    cut, whole = (
        published_translator(*size).get_layer("image_decoder") for size in ((45, 61), (48, 64))
    )
    cut.set_weights(whole.get_weights())
    features = np.random.default_rng(0).normal(size=(2, 48)).astype(np.float32)
    expected = said_by(whole, features)[:, :45, :61]
    np.testing.assert_array_equal(said_by(cut, features), expected)


def kernels(block, kind):
    return [layer for layer in block.layers if type(layer) is kind]


@pytest.mark.parametrize("size", [(16, 24), (15, 21)])
def test_a_convolution_pads_both_sides_alike(size):
    block = published_translator(*size).get_layer("image_encoder")
    convolution = kernels(block, layers.Conv2D)[0]
    image = films(*size)["image"]
    found = said_by(keras.Model(block.input, convolution.output), image)
    kernel, bias = convolution.get_weights()
    for filter_ in range(4):
        every = correlate2d(image[0, :, :, 0], kernel[:, :, 0, filter_], mode="same")
        expected = np.maximum(every[::2, ::2] + bias[filter_], 0)
        np.testing.assert_allclose(found[0, :, :, filter_], expected, atol=1e-6)


def test_a_transposed_convolution_gives_one_row_less_at_each_side():
    block = published_translator(16, 24).get_layer("image_decoder")
    convolution = kernels(block, Conv2DTranspose)[-1]
    x = np.random.default_rng(0).normal(size=(1, 5, 7, 4)).astype(np.float32)
    kernel, bias = convolution.get_weights()
    expected = np.full((10, 14), bias[0])
    for channel in range(4):
        spread = np.zeros((9, 13))
        spread[::2, ::2] = x[0, :, :, channel]
        expected += convolve2d(spread, kernel[:, :, 0, channel])[1:-1, 1:-1]
    np.testing.assert_allclose(
        ops.convert_to_numpy(convolution(x))[0, :, :, 0], expected, atol=1e-5
    )


def test_the_transposed_convolution_for_jax_is_that_of_keras_and_so_are_its_gradients():
    import tensorflow as tf

    layer = Conv2DTranspose(3, use_bias=False)
    draws = np.random.default_rng(0)
    x = tf.Variable(draws.normal(size=(2, 5, 7, 4)).astype(np.float32))
    layer.build(x.shape)
    wanted = draws.normal(size=(2, 10, 14, 3)).astype(np.float32)
    programs = {"keras": layer, "ours": lambda x: transposed_convolution(x, layer.kernel.value)}
    found = {}
    for name, program in programs.items():
        with tf.GradientTape() as tape:
            y = program(x)
            loss = tf.reduce_sum(tf.square(y - wanted))
        found[name] = [y, *tape.gradient(loss, [x, layer.kernel.value])]
    for ours, theirs in zip(found["ours"], found["keras"], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


def torch_block(torch, name, rows, columns):
    """Return the image's encoder or decoder in PyTorch."""
    nn = torch.nn
    flat = 64 * rows * columns
    if name == "image_encoder":
        widths = (1, 4, 16, 64)
        steps = [nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairwise(widths)]
        steps += [nn.Flatten(), nn.Linear(flat, 64), nn.Linear(64, 48)]
        last = nn.Identity()
    else:
        widths = (64, 16, 4, 1)
        steps = [nn.Linear(48, 64), nn.Linear(64, flat), nn.Unflatten(1, (64, rows, columns))]
        steps += [nn.ConvTranspose2d(a, b, 4, stride=2, padding=1) for a, b in pairwise(widths)]
        last = nn.Sigmoid()
    unshaped = (nn.Flatten, nn.Unflatten)
    relus = [(s,) if isinstance(s, unshaped) else (s, nn.ReLU()) for s in steps[:-1]]
    return nn.Sequential(*[step for pair in relus for step in pair], steps[-1], last)


def as_torch_weights(weights, rows, columns):
    """Return Keras's weights as PyTorch orders them: channels first, outputs before inputs."""
    channels_first = np.arange(rows * columns * 64).reshape(rows, columns, 64).transpose(2, 0, 1)
    for values in weights:
        for axis, size in enumerate(values.shape):
            if size == channels_first.size:
                values = np.take(values, channels_first.ravel(), axis)
        yield np.ascontiguousarray(values.transpose(3, 2, 0, 1) if values.ndim == 4 else values.T)


@pytest.mark.parametrize("name", ["image_encoder", "image_decoder"])
def test_the_blocks_of_the_image_equal_those_of_pytorch(name):
    torch = pytest.importorskip("torch", reason="PyTorch is missing: pip install torch")
    ours = published_translator(21, 30).get_layer(name)
    theirs = torch_block(torch, name, 3, 4)
    weights = as_torch_weights(ours.get_weights(), 3, 4)
    with torch.no_grad():
        for parameter, values in zip(theirs.parameters(), weights, strict=True):
            parameter.copy_(torch.from_numpy(values))
        if name == "image_encoder":
            x = films()["image"]
            expected = theirs(torch.from_numpy(x.transpose(0, 3, 1, 2))).numpy()
        else:
            x = np.random.default_rng(0).normal(size=(3, 48)).astype(np.float32)
            image = theirs(torch.from_numpy(x)).numpy()
            expected = image.transpose(0, 2, 3, 1)[:, :21, :30]
    np.testing.assert_allclose(said_by(ours, x), expected, rtol=1e-5, atol=1e-6)


def test_first_weights_are_drawn_as_pytorch_draws_them(small):
    def bounds(name, kind):
        for layer in kernels(small.get_layer(name), kind):
            yield [np.abs(values).max() for values in layer.get_weights()]

    # The square root of what a unit adds up; PyTorch takes the filters of a transposed convolution
    # for its channels.
    inputs = {
        ("image_encoder", layers.Conv2D): (9, 36, 144),
        ("image_decoder", Conv2DTranspose): (256, 64, 16),
        ("image_encoder", layers.Dense): (768, 64),
        ("image_decoder", layers.Dense): (48, 64),
        ("shared_encoder", layers.Dense): (48, 24),
    }
    for (name, kind), counts in inputs.items():
        for (kernel, bias), n in zip(bounds(name, kind), counts, strict=True):
            assert 0.8 * n**-0.5 < kernel <= n**-0.5, (name, n)
            assert 0 < bias <= n**-0.5, (name, n)
    first = kernels(small.get_layer("shared_encoder"), layers.Dense)[0]
    assert abs(float(np.std(first.kernel)) * np.sqrt(48 * 3) - 1) < 0.1, "not uniform"


# ---- the paths


@pytest.mark.parametrize(("source", "target"), list(product(MODALITIES, MODALITIES)))
def test_one_path_alone_answers_as_the_whole_network(small, answers, source, target):
    alone = path(small, source, target)
    found = said_by(alone, films()[source])
    np.testing.assert_allclose(found, answers[f"{source}_to_{target}"], atol=1e-6)


@pytest.mark.parametrize("source", MODALITIES)
def test_a_code_alone_is_that_of_the_whole_network(small, answers, source):
    found = said_by(encoder(small, source), films()[source])
    np.testing.assert_allclose(found, answers[f"{source}_code"], atol=1e-6)


def test_a_path_depends_on_nothing_but_its_source(small, answers):
    for source, other in (MODALITIES, MODALITIES[::-1]):
        changed = said_by(small, {**films(), other: np.zeros_like(films()[other])})
        for target in MODALITIES:
            name = f"{source}_to_{target}"
            np.testing.assert_allclose(changed[name], answers[name], atol=1e-6)
            back = f"{other}_to_{target}"
            assert np.abs(changed[back] - answers[back]).max() > 1e-6


def test_a_translator_comes_back_from_its_file(small, answers, tmp_path):
    small.save(tmp_path / "translator.keras")
    again = keras.models.load_model(tmp_path / "translator.keras")
    found = said_by(again, films())
    assert found.keys() == answers.keys()
    for name, values in answers.items():
        np.testing.assert_allclose(found[name], values, atol=1e-6)
    assert [layer.loss_weights for layer in again.layers if hasattr(layer, "loss_weights")] == [
        WITH_CYCLES
    ]


# ---- the loss


@pytest.mark.parametrize("row", PRINTED.split("\n")[1:-1])
def test_the_published_weights_give_the_printed_total_of_the_printed_parts(row):
    total, *parts = map(float, row.split())
    names = [*PATHS, "latent"]
    assert names == list(vars(PUBLISHED))[:5]
    counted = sum(list(vars(PUBLISHED).values())[:5])
    rounding = 5e-5 * (1 + counted)  # each number is printed to four decimals
    assert PUBLISHED.total(dict(zip(names, parts, strict=True))) == pytest.approx(
        total, abs=rounding
    )


def test_the_trained_loss_is_the_weighted_sum_of_the_mean_squared_errors(small, answers):
    given = films()
    expected = (
        1.0 * np.mean((answers["image_to_image"] - given["image"]) ** 2)
        + 0.1 * np.mean((answers["image_to_stoichiometry"] - given["stoichiometry"]) ** 2)
        + 10 * np.mean((answers["stoichiometry_to_image"] - given["image"]) ** 2)
        + 0.01 * np.mean((answers["stoichiometry_to_stoichiometry"] - given["stoichiometry"]) ** 2)
        + 0.001 * np.mean((answers["image_code"] - answers["stoichiometry_code"]) ** 2)
        + 0.5 * np.mean((answers["image_cycle"] - given["image"]) ** 2)
        + 2.0 * np.mean((answers["stoichiometry_cycle"] - given["stoichiometry"]) ** 2)
    )
    small.compile(loss=None, run_eagerly=True)
    assert small.test_on_batch(given) == pytest.approx(expected, rel=1e-5)
    assert float(WITH_CYCLES.total(loss_parts(given, answers))) == pytest.approx(expected, rel=1e-5)


def test_parts_are_named_as_their_weights(answers):
    assert set(loss_parts(films(), answers)) == set(vars(PUBLISHED))
    without = {name: values for name, values in answers.items() if name not in CYCLES}
    assert set(loss_parts(films(), without)) == {*PATHS, "latent"}


def test_the_published_translator_has_no_cycles():
    assert set(published_translator(21, 30).output) == {*PATHS, *CODES}
    one = published_translator(21, 30, LossWeights(image_cycle=1.0))
    assert set(one.output) == {*PATHS, *CODES, "image_cycle"}


@pytest.mark.parametrize(("source", "other"), [MODALITIES, MODALITIES[::-1]])
def test_a_cycle_goes_through_the_other_modality_and_back(small, answers, source, other):
    there = said_by(path(small, source, other), films()[source])
    back = said_by(path(small, other, source), there)
    np.testing.assert_allclose(answers[f"{source}_cycle"], back, atol=1e-6)


def test_a_perfect_translator_has_no_loss():
    """One that knows a single film, of a grey image, and answers with it whatever it is shown."""
    model = translator(weights=WITH_CYCLES)
    for modality, bias in (("image", -1.0), ("stoichiometry", 0.25)):
        kernel = next(
            layer for layer in model.get_layer(f"{modality}_decoder").layers[::-1] if layer.weights
        )
        kernel.set_weights([np.zeros(kernel.kernel.shape), np.array([bias])])
    last = model.get_layer("shared_encoder").layers[-1]
    last.set_weights([np.zeros((24, 12)), np.ones(12)])
    grey = 1 / (1 + np.exp(1.0))
    film = {
        "image": np.full((2, 21, 30, 1), grey, np.float32),
        "stoichiometry": np.full((2, 1), 0.25, np.float32),
    }
    parts = loss_parts(film, said_by(model, film))
    assert set(parts) == set(vars(WITH_CYCLES))
    assert all(float(part) == pytest.approx(0, abs=1e-12) for part in parts.values())


@pytest.mark.parametrize("weights", [PUBLISHED, WITH_CYCLES])
@pytest.mark.parametrize("policy", ["float32", *MIXED])
def test_every_weight_learns_and_the_loss_is_float32(weights, policy):
    import tensorflow as tf

    with precision(policy):
        model = translator(weights=weights)
    with tf.GradientTape() as tape:
        found = model(films(), training=True)
        (loss,) = model.losses
        scaled = 1024 * loss  # as a mixed_float16 training scales it
    assert loss.dtype == tf.float32
    assert {str(values.dtype.name) for values in found.values()} == {"float32"}
    variables = [variable.value for variable in model.trainable_variables]
    for variable, gradient in zip(
        model.trainable_variables, tape.gradient(scaled, variables), strict=True
    ):
        assert gradient is not None, f"{variable.path} is not used"
        assert np.isfinite(gradient).all(), variable.path
        assert np.any(gradient), f"{variable.path} is cut off from the loss"


@pytest.mark.parametrize("policy", MIXED)
def test_a_translator_that_computes_in_sixteen_bits_answers_in_float32(policy):
    with precision(policy):
        model = translator()
    convolutions = kernels(model.get_layer("image_encoder"), layers.Conv2D)
    assert {layer.compute_dtype for layer in convolutions} == {policy.split("_")[1]}
    exact = said_by(translator(), films())
    for name, values in said_by(model, films()).items():
        assert values.dtype == np.float32
        np.testing.assert_allclose(values, exact[name], atol=0.02)


def test_a_translator_learns_the_films_it_is_shown():
    given = films(n=4)
    given["image"] = np.repeat(np.repeat(given["image"][:, ::8, ::8], 8, 1), 8, 2)[:, :21, :30]
    model = translator()
    model.compile(keras.optimizers.Adam(3e-3), loss=None)
    losses = []
    for _ in range(150):
        losses.append(model.train_on_batch(given, given["stoichiometry"]))
        model.reset_metrics()  # else a loss is the mean of all so far
    assert losses[-1] < 0.3 * losses[0]


# ---- the gated CNN of Harris et al.


def test_the_gated_cnn_has_as_many_weights_as_the_original():
    model = gated_cnn(135, 180)
    assert sum(variable.value.shape.num_elements() for variable in model.trainable_variables) == (
        906_017
    )
    assert gated_cnn(210, 280).count_params() == model.count_params(), "the size of images matters"


def test_each_gated_convolution_is_normalised_and_followed_by_a_pooling():
    model = gated_cnn(135, 180)
    convolutions = kernels(model, layers.Conv2D)
    assert [layer.filters for layer in convolutions] == [32, 128, 256]
    assert {layer.kernel_size for layer in convolutions} == {(7, 7)}
    assert [layer.axis for layer in kernels(model, layers.BatchNormalization)] == [-1] * 3
    pools = [layer.output.shape[1:] for layer in kernels(model, layers.MaxPooling2D)]
    assert pools == [(64, 87, 16), (29, 40, 64), (11, 17, 128)]
    assert [layer.rate for layer in kernels(model, Dropout)] == [0.1523]


def test_a_gate_lets_one_half_through_as_far_as_the_other_opens():
    model = gated_cnn(60, 50)
    before = kernels(model, layers.BatchNormalization)[0].output
    after = kernels(model, layers.Multiply)[0].output
    image = films(60, 50)["image"] - 0.5
    found, gated = said_by(keras.Model(model.input, [before, after]), image)
    values, gate = found[..., :16], found[..., 16:]
    expected = np.where(values > 0, values, 0.01 * values) / (1 + np.exp(-gate))
    np.testing.assert_allclose(gated, expected, atol=1e-6)


def test_the_smallest_images_that_fit_have_fifty_pixels_a_side():
    assert said_by(gated_cnn(50, 60), films(50, 60)["image"]).shape == (3, 1)
    with pytest.raises(ReproError, match=r"49 × 60 pixels are too small for 3 .* width 7"):
        gated_cnn(49, 60)
    assert gated_cnn(30, 40, kernel=3).output_shape == (None, 1)


@pytest.mark.parametrize("policy", ["float32", *MIXED])
def test_the_gated_cnn_trains_and_answers_in_float32(policy, tmp_path):
    given = films(50, 52, n=4)
    batches = Batches(gather(given["image"], given["stoichiometry"]), np.arange(4), 4, seed=0)
    recipe = Recipe(
        epochs=2, batch_size=4, learning_rate=1e-3, loss="mae", precision=policy, keep="last"
    )

    def build():
        return gated_cnn(50, 52, channels=(4, 4, 8))

    model, history = fit(build, recipe, batches, batches, tmp_path, 0, {}, quiet=True)
    assert np.isfinite(history["loss"]).all()
    answer = said_by(model, given["image"])
    assert answer.dtype == np.float32
    assert np.ptp(answer) > 0
