"""Our translator has all four paths through one code, and training finds what it should."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial

import keras
import numpy as np
import pytest

from repro.datasets.batches import Batches, gather
from repro.datasets.spec import load_spec
from repro.studies.rheed_translator import simulate
from repro.studies.rheed_translator.images import streak_centre, streak_cues
from repro.studies.rheed_translator.improved import (
    N_CODE,
    huber,
    improved_network,
)
from repro.studies.rheed_translator.preparation import HEIGHT, WIDTH, Preprocessing
from repro.training.fit import fit
from repro.training.precision import precision
from repro.training.recipe import Recipe

pytestmark = pytest.mark.slow

PARAMETERS = dict(load_spec("rheed_translator").resolve("smoke", None, {}).parameters)
RECIPE = Recipe(
    epochs=200, batch_size=64, learning_rate=0.5, schedule="cosine", keep="last", loss="none"
)


def synthetic(start, stop):
    made = simulate.films(start, stop, 5, {**PARAMETERS, "outlier_share": 0.0})
    return made["images"], made["stoichiometry"]


def trained(images, stoichiometry, folder, seed=0, recipe=RECIPE):
    preprocessing = Preprocessing.of(images, stoichiometry)
    films = preprocessing.inputs(images, stoichiometry)
    load, rows = gather(films, np.zeros((len(images), 1))), np.arange(len(images))
    batches = Batches(load, rows, recipe.batch_size, seed)
    check = Batches(load, rows, recipe.batch_size, None)
    build = partial(improved_network, preprocessing)
    network, _ = fit(build, recipe, batches, check, folder, seed, {}, quiet=True)
    return preprocessing, network


def answers_of(network, films):
    return {name: np.asarray(values) for name, values in network(films).items()}


@pytest.fixture(scope="module")
def films():
    return synthetic(0, 24)


@pytest.fixture(scope="module")
def run(films, tmp_path_factory):
    return trained(*films, tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def answers(run, films):
    preprocessing, network = run
    return answers_of(network, preprocessing.inputs(*films))


def test_all_four_paths_exist(answers, films):
    n = len(films[0])
    assert {name: values.shape for name, values in answers.items()} == {
        "image_to_image": (n, HEIGHT, WIDTH),
        "image_to_stoichiometry": (n, 1),
        "stoichiometry_to_image": (n, HEIGHT, WIDTH),
        "stoichiometry_to_stoichiometry": (n, 1),
        "deviation": (n, 1),
        "image_code": (n, N_CODE),
        "stoichiometry_code": (n, N_CODE),
    }
    assert all(values.dtype == np.float32 for values in answers.values())


def test_every_path_leads_through_the_shared_code(run, answers):
    network = run[1]
    for source in ("image", "stoichiometry"):
        for target in ("image", "stoichiometry"):
            decoded = network.get_layer(f"{target}_decoder")(answers[f"{source}_code"])
            found = answers[f"{source}_to_{target}"]
            np.testing.assert_allclose(decoded, found, rtol=1e-4, atol=1e-5)


def test_the_encoders_need_nothing_of_the_other_modality(run, answers, films):
    preprocessing, network = run
    blind = preprocessing.inputs(films[0])
    encoder = network.get_layer("image_encoder")
    code = encoder({name: x for name, x in blind.items() if name != "stoichiometry"})
    np.testing.assert_allclose(code, answers["image_code"], rtol=1e-4, atol=1e-5)
    code = network.get_layer("stoichiometry_encoder")(films[1][:, None].astype(np.float32))
    np.testing.assert_allclose(code, answers["stoichiometry_code"], rtol=1e-4, atol=1e-5)


def test_the_first_number_of_both_codes_is_the_composition(run, answers):
    content = run[0].content
    for source in ("image", "stoichiometry"):
        expected = content.apply(answers[f"{source}_to_stoichiometry"])[:, 0]
        np.testing.assert_allclose(answers[f"{source}_code"][:, 0], expected, atol=1e-5)


def test_a_stoichiometry_comes_back_as_it_was(answers, films):
    found = answers["stoichiometry_to_stoichiometry"][:, 0]
    np.testing.assert_allclose(found, films[1], rtol=1e-5)


def test_training_finds_the_mean_of_both_processes(run, films):
    preprocessing, network = run
    found = preprocessing.inputs(*films)
    scaled = preprocessing.cues.apply(found["cues"].astype(float))
    objective = network.get_layer("objective")
    content = preprocessing.content.apply(films[1][:, None])
    for layer, inputs in ((objective.composition, scaled), (objective.trend, content)):
        expected = layer.process.mean(inputs)
        np.testing.assert_allclose(
            layer(inputs.astype(np.float32)), expected, atol=0.03 * np.abs(expected).max()
        )


def test_further_films_are_read_better_than_by_the_mean(run):
    preprocessing, network = run
    images, stoichiometry = synthetic(100, 130)
    found = answers_of(network, preprocessing.inputs(images))["image_to_stoichiometry"][:, 0]
    error = np.abs(found - stoichiometry).mean()
    assert error < 0.5 * np.abs(stoichiometry - preprocessing.content.middle).mean()


def test_most_further_films_lie_within_their_interval(run):
    preprocessing, network = run
    images, stoichiometry = synthetic(100, 160)
    low, high = preprocessing.interval(answers_of(network, preprocessing.inputs(images)))
    assert np.mean((low <= stoichiometry) & (stoichiometry <= high)) > 0.75


def test_an_image_comes_back_with_its_streak_where_it_was(run, films):
    preprocessing, network = run
    images = films[0]
    moved = np.roll(images, 4, axis=2)
    drawn = answers_of(network, preprocessing.inputs(moved))["image_to_image"]
    np.testing.assert_allclose(streak_centre(drawn), streak_centre(moved), atol=0.01)


def test_an_unseen_image_comes_back_better_than_the_mean_image(run, films):
    preprocessing, network = run
    images, _ = synthetic(100, 130)
    drawn = answers_of(network, preprocessing.inputs(images))["image_to_image"]
    drawn = keras.ops.image.resize(drawn[..., None], images.shape[1:])[..., 0]
    error = np.square(drawn - images).mean()
    assert error < 0.5 * np.square(films[0].mean(axis=0) - images).mean()


def test_the_drawn_pattern_changes_with_the_stoichiometry_as_the_films_do(run):
    preprocessing, network = run
    content = np.array([[38.0], [60.0]], dtype=np.float32)
    code = network.get_layer("stoichiometry_encoder")(content)
    drawn = np.asarray(network.get_layer("image_decoder")(code))
    centre = np.repeat(preprocessing.centre.middle, 2)
    np.testing.assert_allclose(streak_centre(drawn), centre, atol=0.02)
    second_order = streak_cues(drawn, centre, preprocessing.spacing)[:, 1]
    assert second_order[0] > second_order[1] + 0.1


def test_a_shift_of_the_film_is_in_the_place_of_the_code_alone(run, films):
    preprocessing, network = run
    large = np.repeat(films[0][:4], 4, axis=2)
    codes = [
        answers_of(network, preprocessing.inputs(images))["image_code"]
        for images in (large, np.roll(large, 8, axis=2))
    ]
    place = codes[0].shape[1] - 2
    np.testing.assert_allclose(codes[1][:, place] - codes[0][:, place], 8 / 256, atol=2e-3)
    np.testing.assert_allclose(codes[1][:, 0], codes[0][:, 0], atol=0.1)


def test_the_seed_sets_the_first_weights_and_training_forgets_them(films, run, tmp_path):
    preprocessing, network = run
    inputs = preprocessing.inputs(*films)
    first = []
    for seed in (0, 1):
        keras.utils.set_random_seed(seed)
        first.append(answers_of(improved_network(preprocessing), inputs))
    name = "image_to_stoichiometry"
    assert np.abs(first[0][name] - first[1][name]).max() > 1
    _, other = trained(*films, tmp_path, seed=1)
    found = answers_of(network, inputs)[name], answers_of(other, inputs)[name]
    np.testing.assert_allclose(*found, atol=0.3)


def test_training_again_with_the_same_seed_gives_the_same_network(films, tmp_path):
    short = Recipe(epochs=3, batch_size=8, learning_rate=0.5, keep="last", loss="none")
    one, other = (trained(*films, tmp_path / name, recipe=short)[1] for name in ("one", "other"))
    for ours, theirs in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_one_film_with_a_wrong_label_pulls_less_than_squared_errors_would():
    errors = np.array([[-3.0], [0.5], [1.0], [5.0]], dtype=np.float32)
    np.testing.assert_allclose(huber(errors, 2.0)[:, 0], [8.0, 0.25, 1.0, 16.0])


def test_the_answers_are_float32_in_mixed_precision(run, films):
    with precision("mixed_bfloat16"):
        network = improved_network(run[0])
    found = answers_of(network, run[0].inputs(films[0][:2]))
    assert all(values.dtype == np.float32 for values in found.values())


BY_JAX = """
import sys, numpy as np
from repro.studies.rheed_translator.improved import improved_network
from repro.studies.rheed_translator.preparation import Preprocessing
films = np.load(sys.argv[1])
preprocessing = Preprocessing.of(films["images"], films["stoichiometry"])
network = improved_network(preprocessing)
network.set_weights([films[f"weight_{i}"] for i in range(len(network.weights))])
network.compile(optimizer="adam")
found = network(preprocessing.inputs(films["images"], films["stoichiometry"]))
np.savez(sys.argv[2], **{name: np.asarray(values) for name, values in found.items()})
loss = network.train_on_batch(
    preprocessing.inputs(films["images"], films["stoichiometry"]), np.zeros((24, 1))
)
assert np.isfinite(loss)
"""


def test_jax_gives_the_answers_of_tensorflow_and_trains(run, films, answers, tmp_path):
    weights = {f"weight_{i}": values for i, values in enumerate(run[1].get_weights())}
    np.savez(tmp_path / "films.npz", images=films[0], stoichiometry=films[1], **weights)
    subprocess.run(
        [sys.executable, "-c", BY_JAX, tmp_path / "films.npz", tmp_path / "answers.npz"],
        check=True,
        env={**os.environ, "KERAS_BACKEND": "jax"},
    )
    found = np.load(tmp_path / "answers.npz")
    for name, values in answers.items():
        np.testing.assert_allclose(found[name], values, rtol=2e-3, atol=2e-3, err_msg=name)
