"""Who is asked what, and that noise and rotation do to patterns what they say and no more."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from repro.datasets.spec import load_spec
from repro.errors import ReproError
from repro.studies.interface_dcnn import examples as ex
from repro.studies.interface_dcnn.examples import Augmentation, Columns, Scale, evenly
from repro.studies.interface_dcnn.simulate import N_CLASSES, Simulation, centre

SPLITS = ("train", "validation", "test")
EVERYTHING = np.arange(38)
BOTH = [0, 1]
UNCHANGED = Augmentation(noise_free=1.0, rotation=0.0)


def spot(x, y, n=33, width=2.0):
    """Return a round spot of one electron, ``x`` and ``y`` from the centre [bins]."""
    away = np.arange(n) - (n - 1) / 2
    shape = np.exp(-((away[:, None] - x) ** 2 + (away - y) ** 2) / (2 * width**2))
    return (shape / shape.sum()).astype(np.float32)


def centre_of(pattern):
    away = np.arange(pattern.shape[-1]) - (pattern.shape[-1] - 1) / 2
    return np.array([away @ pattern.sum(axis=1), away @ pattern.sum(axis=0)]) / pattern.sum()


# ---- numbers of examples


def test_the_number_of_a_line_comes_back_as_its_sample_thickness_and_line(columns):
    samples, thickness, line = np.indices((38, 2, 3)).reshape(3, -1)
    places = columns.line_places((samples * 2 + thickness) * 3 + line)
    np.testing.assert_array_equal(places, [samples, thickness, line])


def test_the_number_of_a_cell_comes_back_as_its_sample_and_thickness(columns):
    samples, thickness = np.indices((38, 2)).reshape(2, -1)
    np.testing.assert_array_equal(
        columns.step_places(samples * 2 + thickness), [samples, thickness]
    )


def test_patterns_and_labels_are_those_of_the_place_that_the_number_names(columns, dataset):
    patterns, example = dataset.array("patterns"), (7 * 2 + 1) * 3 + 2
    np.testing.assert_array_equal(columns.line_patterns(np.array([example]))[0], patterns[7, 1, 2])
    assert columns.line_labels(np.array([example])) == dataset.array("is_intermixed")[7]
    expected = np.einsum("lphw,l->phw", patterns[7, 1], [0.25, 0.5, 0.25])
    found = columns.step_patterns(np.array([7 * 2 + 1]))[0]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    depth = dataset.array("step_depth")[7]
    assert columns.step_fractions(np.array([15])) == pytest.approx(depth / 20)


@pytest.mark.parametrize("kind", ["lines", "steps", "step_lines"])
def test_no_structure_is_in_two_splits_and_no_example_either(columns, dataset, kind):
    def of_split(split):
        rows = dataset.rows(split)
        found = columns.lines(rows) if kind == "lines" else getattr(columns, kind)(rows, BOTH)
        places = columns.step_places(found) if kind == "steps" else columns.line_places(found)
        return set(found), set(places[0]), set(rows)

    for (ours, samples, rows), (theirs, others, _) in combinations(map(of_split, SPLITS), 2):
        assert ours
        assert not ours & theirs
        assert not samples & others
        assert samples <= rows


@pytest.mark.parametrize("kind", ["lines", "steps", "step_lines"])
def test_split_at_random_every_structure_is_in_several_splits_and_no_example_is(
    columns, dataset, kind
):
    mixed = Columns(dataset, columns.n_bins)
    vars(mixed)["simulation"] = replace(columns.simulation, random_split=True)

    def of_split(columns, rows):
        return columns.lines(rows) if kind == "lines" else getattr(columns, kind)(rows, BOTH)

    parts = [of_split(mixed, dataset.rows(split)) for split in SPLITS]
    everything = np.sort(np.concatenate(parts))
    np.testing.assert_array_equal(everything, of_split(columns, EVERYTHING))
    places = mixed.step_places if kind == "steps" else mixed.line_places
    trained_on, _, tested = (set(places(part)[0]) for part in parts)
    assert trained_on & tested
    assert set(places(parts[0])[0]) - set(dataset.rows("train"))


def test_the_same_random_split_holds_for_lines_told_apart_and_all_lines(columns, dataset):
    mixed = Columns(dataset, columns.n_bins)
    vars(mixed)["simulation"] = replace(columns.simulation, random_split=True)
    for split in SPLITS:
        rows = dataset.rows(split)
        assert set(mixed.lines(rows)) <= set(mixed.lines(rows, flat_too=True))


def test_of_many_examples_a_class_gives_no_more_than_it_may_evenly_from_all():
    labels = np.array([0] * 90 + [1] * 10)
    kept = evenly(np.arange(100, 200), labels, 20)
    counts = np.bincount(labels[kept - 100])
    np.testing.assert_array_equal(counts, [20, 10])
    assert kept[0] == 100
    assert kept[19] == 189
    assert np.all(np.diff(kept[:20]) >= 4)
    np.testing.assert_array_equal(evenly(np.arange(100), labels, 100), np.arange(100))


def test_class_examples_leave_out_the_nearly_flat_and_only_those(columns, dataset):
    everything = columns.lines(EVERYTHING, flat_too=True)
    assert len(everything) == 38 * 2 * 3
    cells = np.array([10, 20])
    steps = dataset.array("step_depth")[:, None] / cells
    mixed = dataset.array("exchanged_fraction")
    fraction = np.where(dataset.array("is_intermixed")[:, None] == 1, mixed, steps)
    flat = (fraction < 0.1) | (fraction > 0.95)
    assert flat.any(axis=0).all()
    sample, thickness, _ = columns.line_places(everything)
    expected = everything[~flat[sample, thickness]]
    np.testing.assert_array_equal(columns.lines(EVERYTHING), expected)


def test_steps_deeper_than_the_thickness_are_left_out_and_no_others(columns, dataset):
    is_step, depth = dataset.array("is_intermixed") == 0, dataset.array("step_depth")
    for thickness, n_cells in enumerate((10, 20)):
        samples, thicknesses = columns.step_places(columns.steps(EVERYTHING, [thickness]))
        np.testing.assert_array_equal(samples, np.flatnonzero(is_step & (depth <= n_cells)))
        assert set(thicknesses) == {thickness}
    assert (depth > 10).any(), "no step is deeper than the thin crystal"


def test_the_lines_of_steps_are_all_lines_of_the_cells_of_steps(columns):
    cells, lines = columns.steps(EVERYTHING, BOTH), columns.step_lines(EVERYTHING, BOTH)
    np.testing.assert_array_equal(lines // 3, np.repeat(cells, 3))
    labels = columns.line_step_labels(lines)
    np.testing.assert_array_equal(labels, np.repeat(columns.step_labels(cells), 3))


@pytest.mark.parametrize("preset", ["smoke", "desk", "paper"])
def test_the_centre_of_a_class_has_the_label_of_that_class(preset):
    simulation = Simulation(**load_spec("interface_dcnn").resolve(preset).parameters)
    for n_cells in simulation.cells:
        depths = [centre(n_cells, label) for label in range(N_CLASSES)]
        fraction = np.divide(depths, n_cells).astype(np.float32)
        np.testing.assert_array_equal(ex.step_class(fraction), range(N_CLASSES))


def test_numbers_beyond_the_crystal_belong_to_the_outermost_classes():
    np.testing.assert_array_equal(ex.step_class(np.array([-0.3, 1.4])), [0, 10])


def test_thicknesses_are_named_in_tens_and_given_between_minus_one_and_one(columns):
    assert columns.thickness_names == ["40", "80"]
    given = columns.thickness_input(np.array([0, 1, 0]))
    assert given.shape == (3, 1)
    assert -1 <= given[0, 0] == given[2, 0] < given[1, 0] <= 1


# ---- bins and lines


def test_binning_keeps_the_electrons_where_they_are(columns, dataset):
    examples, coarse = np.arange(20), Columns(dataset, 8)
    fine, summed = (c.line_patterns(examples) for c in (columns, coarse))
    assert summed.shape == (20, 5, 8, 8)
    np.testing.assert_allclose(summed.sum((-1, -2)), fine.sum((-1, -2)), rtol=1e-5)
    np.testing.assert_allclose(summed[..., 1, 2], fine[..., 2:4, 4:6].sum((-1, -2)), rtol=1e-5)


def test_bins_that_do_not_divide_are_refused(dataset):
    with pytest.raises(ReproError, match="16 bins do not divide into the 12 that the network"):
        Columns(dataset, 12)


def test_lines_together_hold_the_electrons_of_the_average_over_the_cell(columns):
    cells = columns.steps(EVERYTHING, BOTH)[:6]
    together = columns.step_lines_together(cells)
    assert together.shape == (6, 3, 5, 16, 16)
    np.testing.assert_allclose(together.sum(axis=1), columns.step_patterns(cells), rtol=1e-5)


# ---- what a network sees


def test_inputs_have_mean_one_and_do_not_depend_on_the_scale_of_the_dose(columns):
    patterns = columns.line_patterns(np.arange(10))
    inputs = ex.as_input(patterns)
    assert inputs.shape == (10, 5, 16, 16, 1)
    assert inputs.dtype == np.float32
    np.testing.assert_allclose(inputs.mean(axis=(1, 2, 3, 4)), 1, rtol=1e-5)
    np.testing.assert_allclose(ex.as_input(1e5 * patterns), inputs, rtol=1e-4)


def test_lines_become_channels_without_being_mixed_up(columns):
    patterns = columns.step_lines_together(np.arange(2))
    inputs = ex.as_input(patterns)
    assert inputs.shape == (2, 5, 16, 16, 3)
    roots = np.moveaxis(np.sqrt(patterns[0]), 0, -1)
    np.testing.assert_allclose(inputs[0], roots / roots.mean(), rtol=1e-4)


def test_a_dark_pattern_is_no_division_by_zero():
    assert not ex.as_input(np.zeros((1, 5, 4, 4), np.float32)).any()


def test_training_examples_come_out_with_mean_zero_and_deviation_one(columns, dataset):
    patterns = columns.line_patterns(columns.lines(dataset.rows("train")))
    scaled = Scale.of(patterns).apply(ex.as_input(patterns))
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-4)
    assert np.sqrt(np.mean(scaled**2)) == pytest.approx(1, abs=1e-4)
    assert scaled.dtype == np.float32


def test_soft_classes_sum_to_one_and_have_the_position_as_their_mean():
    fraction = np.linspace(0, 1, 501)
    shares = ex.soft_class(fraction)
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-5)
    inside = (fraction >= 0.1) & (fraction <= 0.9)
    means = shares @ np.linspace(0, 1, N_CLASSES)
    np.testing.assert_allclose(means[inside], fraction[inside], atol=0.02)
    between = np.abs(10 * fraction % 1 - 0.5) < 0.01
    labels = ex.step_class(fraction)
    np.testing.assert_array_equal(shares.argmax(axis=1)[~between], labels[~between])


# ---- augmentation


def test_what_is_drawn_for_an_example_depends_on_its_own_seed_alone(columns):
    patterns, seeds = columns.line_patterns(np.arange(8)), np.arange(8, dtype=np.uint64)
    whole = ex.augmented(patterns, seeds, Augmentation())
    turned = ex.augmented(patterns[::-1], seeds[::-1], Augmentation())[::-1]
    np.testing.assert_array_equal(whole, turned)
    alone = ex.augmented(patterns[5:6], seeds[5:6], Augmentation())
    np.testing.assert_array_equal(whole[5:6], alone)
    same = ex.augmented(np.repeat(patterns[:1], 8, axis=0), seeds, Augmentation())
    assert len({pattern.tobytes() for pattern in same}) == 8, "two seeds draw the same"


def test_the_largest_seed_is_a_seed(columns):
    seeds = np.array([2**64 - 1], dtype=np.uint64)
    assert ex.augmented(columns.line_patterns(np.arange(1)), seeds, Augmentation()).any()


def test_examples_without_noise_and_rotation_stay_as_they_are(columns):
    patterns, seeds = columns.line_patterns(np.arange(8)), np.arange(8, dtype=np.uint64)
    np.testing.assert_array_equal(ex.augmented(patterns, seeds, UNCHANGED), patterns)


def test_doses_fill_their_range_on_a_logarithmic_scale_but_for_the_share_without_noise():
    n = 500
    # So few electrons a bin that the smallest count is one: one over the dose.
    patterns = np.full((n, 1, 64, 64), 1e-6, np.float32)
    found = ex.augmented(patterns, np.arange(n, dtype=np.uint64), Augmentation(rotation=0))
    noise_free = (found == patterns).all(axis=(1, 2, 3))
    assert noise_free.mean() == pytest.approx(0.1, abs=5 * np.sqrt(0.09 / n))
    counted = found[~noise_free]
    doses = np.array([1 / pattern[pattern > 0].min() for pattern in counted if pattern.any()])
    assert len(doses) == len(counted)
    assert 0.99e4 < doses.min() < 1.2e4
    assert 0.8e6 < doses.max() < 1.01e6
    assert np.median(doses) == pytest.approx(1e5, rel=0.5)


def test_rotations_reach_both_ways_to_the_largest_and_no_further():
    patterns = np.repeat(spot(8, 0)[None, None], 300, axis=0)
    seeds = np.arange(300, dtype=np.uint64)
    found = ex.augmented(patterns, seeds, Augmentation(noise_free=1.0, rotation=3.0))
    angles = [np.rad2deg(np.arctan2(*centre_of(pattern[0])[::-1])) for pattern in found]
    assert -3.01 < min(angles) < -2.8
    assert 2.8 < max(angles) < 3.01
    assert np.mean(angles) == pytest.approx(0, abs=5 * np.sqrt(3 / 300))


def test_soft_classes_without_their_softness_name_the_class_and_know_when_they_are_sure():
    centres = np.linspace(0, 1, N_CLASSES)
    sure = ex.sharp_class(ex.soft_class(centres[1:-1]))
    np.testing.assert_array_equal(sure.argmax(axis=1), np.arange(1, N_CLASSES - 1))
    assert sure.max(axis=1).min() > 0.99
    between = ex.sharp_class(ex.soft_class(np.array([0.45])))
    np.testing.assert_allclose(between[0, 4:6], 0.5, atol=0.05)
    torn = ex.sharp_class((ex.soft_class(np.array([0.3])) + ex.soft_class(np.array([0.6]))) / 2)
    assert torn.max() < 0.4, "two answers far apart are not sure of the one in the middle"
    np.testing.assert_allclose(np.concatenate([sure, between, torn]).sum(axis=1), 1, rtol=1e-6)
