"""Every film is predicted by a network that never saw it, and trainings are those stated."""

from __future__ import annotations

from dataclasses import asdict, replace

import keras
import numpy as np
import pytest
from sklearn.model_selection import train_test_split

from repro.studies.rheed_translator.published.translation import Gated
from repro.studies.rheed_translator.recipe import (
    ALL,
    FOLD,
    GATED,
    HAS_SINGLES,
    LEAST_FILMS,
    LEAST_SEEN,
    N_REPEATED_FOLDS,
    OUR_REPEATS,
    PUBLISHED,
    PUBLISHED_TEST,
    REPEAT,
    SCALES,
    SINGLE,
    STAND_IN_TEST,
    Films,
    corrected_networks,
    faithful_networks,
    held_out_parts,
    improved_networks,
    networks,
    published_test_films,
    random_parts,
    tasks,
)

pytestmark = pytest.mark.slow

VARIANTS = ("faithful", "corrected", "improved")
TRAINED = VARIANTS[:2]
PRESETS = ("smoke", "desk", "paper")


def named(variant, preset, dataset):
    return {task.name: task for task in tasks(variant, preset, dataset)}


def translators(variant, preset, dataset):
    """Return the networks but for the gated CNNs."""
    found = networks(variant, preset, dataset)
    return {name: network for name, network in found.items() if GATED not in name}


def gated(preset, dataset):
    found = networks("faithful", preset, dataset)
    return {name: network for name, network in found.items() if GATED in name}


def seen_by(network):
    return np.setdiff1d(network.films.training, network.held_out)


def with_others_changed(network):
    """Return a network whose films are other ones, but for those that it learns from."""
    films, seen = network.films, seen_by(network)
    images, contents = films.images.copy(), films.stoichiometry.copy()
    unseen = np.setdiff1d(np.arange(len(contents)), seen)
    # Brighter than any film, of an Sr content outside the range, and mirrored.
    images[unseen] = 2 * images[unseen, :, ::-1]
    contents[unseen] = 90 + np.arange(len(unseen))
    return replace(network, films=replace(films, images=images, stoichiometry=contents))


def same(one, other):
    try:
        np.testing.assert_equal(one, other)
    except AssertionError:
        return False
    return True


# ---- nothing leaks from the films that a network does not see


def test_nothing_of_a_network_depends_on_films_that_it_does_not_see(dataset):
    for name, network in translators("corrected", "smoke", dataset).items():
        rows, changed = seen_by(network), with_others_changed(network)
        assert len(rows) < len(network.films.stoichiometry)
        np.testing.assert_equal(asdict(changed.translation), asdict(network.translation), name)
        np.testing.assert_equal(changed.load(rows), network.load(rows), name)
        seeds = np.arange(len(rows), dtype=np.uint64)
        np.testing.assert_equal(changed.augmented(rows, seeds), network.augmented(rows, seeds))


@pytest.mark.parametrize("name", [ALL, "fold_00", f"{REPEAT}_0_{FOLD}_00"])
def test_nothing_that_our_translator_says_depends_on_films_that_it_does_not_see(dataset, name):
    preset = "desk" if name.startswith(REPEAT) else "smoke"
    network = networks("improved", preset, dataset)[name]
    changed, asked = with_others_changed(network), network.inputs(seen_by(network))
    said, again = (net.translation.answers(None, asked) for net in (network, changed))
    np.testing.assert_equal(vars(again), vars(said))


@pytest.mark.parametrize("variant", ["corrected", "improved"])
def test_everything_of_a_network_depends_on_films_that_it_sees(dataset, variant):
    network = translators(variant, "smoke", dataset)["fold_00"]
    contents = network.films.stoichiometry.copy()
    contents[seen_by(network)] += 5
    changed = replace(network, films=replace(network.films, stoichiometry=contents))
    assert not same(repr(changed.translation), repr(network.translation))


def test_the_published_scales_depend_on_films_that_the_network_does_not_see(dataset):
    network = translators("faithful", "smoke", dataset)["fold_00"]
    rows, changed = seen_by(network), with_others_changed(network)
    assert changed.translation.highest > network.translation.highest
    assert changed.translation.brightest > network.translation.brightest
    for given, before in zip(changed.load(rows), network.load(rows), strict=True):
        assert not same(given, before), "the published defect is gone"


def test_the_gated_cnn_is_given_each_film_by_itself(dataset):
    for network in gated("smoke", dataset).values():
        rows, changed = seen_by(network), with_others_changed(network)
        np.testing.assert_equal(changed.load(rows), network.load(rows))


@pytest.mark.parametrize("variant", TRAINED)
def test_films_that_came_after_the_training_do_not_alter_what_a_network_is_given(
    measured, judged, variant
):
    assert len(judged.rows("test")), "nothing came after the training"
    before, after = (networks(variant, "smoke", films) for films in (measured, judged))
    rows = measured.rows("train")
    for name in before:
        np.testing.assert_equal(after[name].load(rows), before[name].load(rows), name)


# ---- parts


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("preset", PRESETS)
def test_every_training_film_is_held_out_exactly_once_in_each_division(dataset, variant, preset):
    divisions = {}
    for name, network in networks(variant, preset, dataset).items():
        division = name.rpartition("_")[0]
        divisions[division] = divisions.get(division, ()) + network.held_out
    assert divisions.pop("") == (), "the network of all films"
    repeats = {f"{REPEAT}_{number}_{FOLD}" for number in range(OUR_REPEATS[preset])}
    repeats |= {SINGLE} if HAS_SINGLES[preset] else set()
    more = {"faithful": {GATED}, "improved": repeats}.get(variant, set())
    assert set(divisions) == {FOLD} | more
    for division, held_out in divisions.items():
        assert sorted(held_out) == dataset.rows("train").tolist(), division


def films_of(contents):
    """Return films of some Sr contents, all to learn from."""
    return Films(np.zeros((len(contents), 4, 6)), np.array(contents), np.arange(len(contents)))


def test_the_test_films_of_the_authors_are_found_in_their_file_by_position():
    contents = np.linspace(33.3, 70, 31)
    known = {
        24: 52.4496,
        12: 41.0214,
        0: 47.1691,
        30: 70.4502,
        27: 61.0268,
        15: 37.1403,
        23: 56.1305,
    }
    contents[list(known)] = list(known.values())
    assert published_test_films(films_of(contents)) == tuple(sorted(PUBLISHED_TEST))
    split = train_test_split(np.arange(31), train_size=0.8, random_state=42, shuffle=True)
    assert split[1].tolist() == list(PUBLISHED_TEST)


def test_a_copy_in_another_order_holds_the_three_printed_films_out_and_four_more():
    contents = np.round([33.2, *STAND_IN_TEST, 50.0, 52.45, 69.0, 70.45], 3)
    films = films_of(contents)
    assert published_test_films(films) == tuple(range(1, 8))
    for variant in VARIANTS:
        found = named_networks(variant, films)
        assert found[PUBLISHED].held_out == tuple(range(1, 8)), variant
    assert published_test_films(films_of(contents[1:])) == tuple(range(7))
    assert published_test_films(films_of(contents[2:])) == (), "one of the seven is missing"


def named_networks(variant, films):
    make = {"faithful": faithful_networks, "corrected": corrected_networks}
    return make.get(variant, improved_networks)(films, "smoke")


def test_random_divisions_differ_but_for_the_same_number(dataset):
    films = Films.of(dataset)
    divisions = [random_parts(films, number) for number in range(5)]
    assert [random_parts(films, number) for number in range(5)] == divisions
    assert len({str(division) for division in divisions}) == 5
    assert {len(division) for division in divisions} == {N_REPEATED_FOLDS}
    few = replace(films, training=np.arange(LEAST_FILMS))
    assert random_parts(few, 0) == []


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_network_of_all_films_comes_first_and_holds_none_out(dataset, variant):
    first = next(iter(networks(variant, "desk", dataset)))
    assert first == ALL
    assert networks(variant, "desk", dataset)[ALL].held_out == ()


@pytest.mark.parametrize("variant", TRAINED)
def test_a_network_learns_from_all_films_but_those_it_is_validated_with(dataset, variant):
    for name, task in named(variant, "smoke", dataset).items():
        training, validation = task.examples_of(dataset)
        if name == ALL:
            np.testing.assert_array_equal(training, dataset.rows("train"))
            np.testing.assert_array_equal(validation, dataset.rows("validation"))
        else:
            assert set(training).isdisjoint(validation)
            both = np.sort(np.concatenate([training, validation]))
            np.testing.assert_array_equal(both, dataset.rows("train"))


def test_parts_are_alike_in_sr_content(dataset):
    films = Films.of(dataset)
    for n_parts in (2, 4, 5):
        parts = held_out_parts(films, n_parts)
        assert len(parts) == n_parts
        part_of = {row: number for number, part in enumerate(parts) for row in part}
        in_order = films.training[np.argsort(films.stoichiometry[films.training])]
        numbers = [part_of[row] for row in in_order]
        for start in range(len(numbers) - n_parts + 1):
            neighbours = numbers[start : start + n_parts]
            assert len(set(neighbours)) == n_parts, "two of these are in one part"


def test_films_are_held_out_one_by_one_if_no_number_of_parts_is_given(dataset):
    films = Films.of(dataset)
    assert sorted(held_out_parts(films, 0)) == [(row,) for row in films.training]
    assert len(held_out_parts(films, 100)) == len(films.training)


@pytest.mark.parametrize(
    ("n", "n_parts", "least_seen", "n_found"),
    [
        (LEAST_SEEN, 0, LEAST_SEEN, 0),
        (LEAST_SEEN + 1, 0, LEAST_SEEN, LEAST_SEEN + 1),
        (7, 2, 4, 0),
        (8, 2, 4, 2),
        (LEAST_FILMS, 0, LEAST_FILMS, 0),
        (LEAST_FILMS + 1, 0, LEAST_FILMS, LEAST_FILMS + 1),
    ],
)
def test_nothing_is_held_out_if_too_few_films_were_left(dataset, n, n_parts, least_seen, n_found):
    films = replace(Films.of(dataset), training=np.arange(n))
    assert len(held_out_parts(films, n_parts, least_seen)) == n_found


def test_our_networks_always_see_as_many_films_as_they_need(dataset):
    for n in range(LEAST_FILMS, 13):
        films = replace(Films.of(dataset), training=np.arange(n))
        for preset in PRESETS:
            found = improved_networks(films, preset).values()
            assert min(len(seen_by(network)) for network in found) >= LEAST_FILMS


def test_films_of_the_same_sr_content_are_divided_too(dataset):
    films = replace(Films.of(dataset), stoichiometry=np.full(18, 50.0))
    held_out = [row for part in held_out_parts(films, 5) for row in part]
    assert sorted(held_out) == films.training.tolist()


# ---- what is loaded


@pytest.mark.parametrize("variant", TRAINED)
def test_only_the_corrected_variant_alters_films_and_only_in_training(dataset, variant):
    for name, task in named(variant, "smoke", dataset).items():
        assert (task.augmented is not None) == (variant == "corrected"), name
        rows = task.examples_of(dataset)[0][:3]
        (inputs, target), (again, same_target) = task.load(rows), task.load(rows)
        np.testing.assert_equal(again, inputs)
        if variant == "corrected":
            seeds = np.arange(3, dtype=np.uint64)
            altered, same_target = task.augmented(rows, seeds)
            assert altered["image"].shape == inputs["image"].shape
            likeness = [
                np.corrcoef(one.ravel(), other.ravel())[0, 1]
                for one, other in zip(altered["image"], inputs["image"], strict=True)
            ]
            assert max(likeness) < 0.9999
            assert min(likeness) > 0.8, "these are no mild changes"
        np.testing.assert_array_equal(same_target, target)


@pytest.mark.parametrize("variant", TRAINED)
def test_films_are_loaded_in_the_order_asked_for(dataset, variant):
    for task in named(variant, "smoke", dataset).values():
        forth, back = task.load(np.array([3, 1])), task.load(np.array([1, 3]))
        reverse = keras.tree.map_structure(lambda values: values[::-1], back)
        np.testing.assert_equal(forth, reverse)


@pytest.mark.parametrize("variant", TRAINED)
def test_every_network_takes_what_its_task_loads(dataset, variant):
    by_name = named(variant, "smoke", dataset)
    first_of_a_kind = [ALL, "fold_01"] + [f"{GATED}_01"] * (variant == "faithful")
    for name in first_of_a_kind:
        inputs, target = by_name[name].load(dataset.rows("train")[:3])
        network = by_name[name].build_model()
        given = inputs if isinstance(inputs, dict) else {"image": inputs}
        shapes = {tensor.name: tensor.shape[1:] for tensor in network.inputs}
        assert {n: values.shape[1:] for n, values in given.items()} == shapes, name
        answers = network(inputs)
        if GATED in name:
            assert np.isfinite(by_name[name].recipe.build_loss()(target, answers)).all()
        else:
            assert np.isfinite(sum(map(float, network.losses))), name
            assert network.losses, "a translator brings its own loss"


def test_the_gated_cnn_is_asked_for_the_sr_content_as_a_fraction(dataset):
    for name, network in gated("smoke", dataset).items():
        target = named("faithful", "smoke", dataset)[name].load(dataset.rows("train"))[1]
        contents = dataset.array("stoichiometry")[dataset.rows("train")]
        np.testing.assert_allclose(100 * target[:, 0], contents, rtol=1e-6)
        assert isinstance(network.translation, Gated)


# ---- trainings


def test_the_published_training_is_that_of_the_authors(dataset):
    recipe = named("faithful", "paper", dataset)[ALL].recipe
    assert (recipe.epochs, recipe.batch_size, recipe.schedule) == (10_000, 4, "constant")
    optimizer = recipe.build_optimizer(10)
    assert isinstance(optimizer, keras.optimizers.Adam)
    assert float(optimizer.learning_rate) == pytest.approx(1e-4)
    assert optimizer.weight_decay is None
    assert (recipe.keep, recipe.loss) == ("last", "none")
    assert SCALES["paper"].size == (540, 720)


def test_the_gated_cnn_is_trained_as_published(dataset):
    recipe = named("faithful", "paper", dataset)[f"{GATED}_00"].recipe
    assert (recipe.epochs, recipe.batch_size, recipe.loss) == (500, 32, "mae")
    assert float(recipe.build_optimizer(10).learning_rate) == pytest.approx(0.0248)
    assert SCALES["paper"].gated_size == (135, 180)


@pytest.mark.parametrize("preset", PRESETS)
def test_the_corrected_translator_is_trained_as_the_published_one(dataset, preset):
    published, corrected = (
        translators(variant, preset, dataset) for variant in ("faithful", "corrected")
    )
    assert len({network.recipe for network in (published | corrected).values()}) == 1
    held_out = ({n: net.held_out for n, net in found.items()} for found in (published, corrected))
    assert next(held_out) == next(held_out)


@pytest.mark.parametrize("preset", PRESETS)
def test_our_translator_is_not_trained(dataset, preset):
    assert tasks("improved", preset, dataset) == []


@pytest.mark.parametrize("variant", TRAINED)
@pytest.mark.parametrize("preset", PRESETS)
def test_no_network_is_chosen_by_the_films_that_it_is_measured_on(dataset, variant, preset):
    assert {task.recipe.keep for task in tasks(variant, preset, dataset)} == {"last"}
