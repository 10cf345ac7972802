"""What the networks of the two stages see, and where they look."""

import numpy as np
import pytest

from repro.studies.strain_ae.lattice import SIXTH
from repro.studies.strain_ae.model import MASKS
from repro.studies.strain_ae.recipe import ROTATION, STRAIN, TEMPLATES, Positions


@pytest.fixture(scope="module")
def stages(untrained):
    return untrained("faithful")


def test_positions_are_numbered_row_after_row(scans):
    positions = Positions(scans)
    numbers = positions.of_rows(np.array([1, 3]))
    assert numbers.tolist() == [*range(6, 12), *range(18, 24)]
    np.testing.assert_array_equal(
        positions.of("strain", numbers), scans.array("strain")[[1, 3]].reshape(-1, 3)
    )


def test_discs_are_as_bright_for_the_network_as_published_whatever_the_pixels(scans):
    # The fact sheet has 0.52 to 0.60 in the second ring of the published pattern.
    positions = Positions(scans)
    at = (np.arange(100) - 49.5) * 2
    middle = positions.patterns(np.arange(36)).mean(axis=0)[..., 0]
    beyond = np.hypot(at[:, None], at) > 85
    assert middle[beyond].mean() < 0.1
    parameters = scans.spec.parameters
    assert 4 * parameters["pixel_size"] ** 2 == positions.unit


def test_the_second_stage_starts_from_rotations_of_the_first_within_a_sixth_of_a_turn(stages):
    numbers = np.array([5, 0, 5])
    inputs, _ = stages.tasks[STRAIN].load(numbers)
    alone = stages.models[ROTATION].predict({"patterns": inputs["patterns"]}, verbose=0)
    np.testing.assert_allclose(inputs["prior"][:, 0], alone[:, 3] % SIXTH, atol=1e-5)
    again, _ = stages.tasks[STRAIN].load(numbers)
    np.testing.assert_array_equal(inputs["prior"], again["prior"])


def test_the_first_stage_looks_at_a_ring_and_never_elsewhere(stages):
    task, model = stages.tasks[ROTATION], stages.models[ROTATION]
    first = task.renew(model, 0, {})
    assert first[MASKS].shape == (1, 100, 100)
    np.testing.assert_array_equal(task.renew(model, 5, first)[MASKS], first[MASKS])


def test_the_second_stage_moves_its_masks_to_the_spots_once(stages):
    task, model = stages.tasks[STRAIN], stages.models[STRAIN]
    first = task.renew(model, 0, {})
    assert first[MASKS].shape[0] == 6
    second = task.renew(model, 1, first)
    assert (second[MASKS] != first[MASKS]).any()
    np.testing.assert_array_equal(task.renew(model, 2, second)[MASKS], second[MASKS])


def test_our_templates_learn_from_the_trained_and_the_validating_scan_alone(untrained, scans):
    learning = untrained("improved").tasks[TEMPLATES].context
    assert len(learning.numbers) == 2 * 36
    assert learning.numbers.max() < Positions(scans).of_rows(scans.rows("test")).min()
