"""The data set: who gets which structure, what depends on what, and the same bytes in the end."""

import dataclasses
from itertools import pairwise
from time import process_time

import numpy as np
import pytest

from repro.datasets.build import build
from repro.datasets.spec import load_spec
from repro.datasets.store import Dataset, verify
from repro.errors import ReproError
from repro.studies.interface_dcnn import crystal, simulate
from repro.studies.interface_dcnn.crystal import A_SUBSTRATE, DISPLACEMENTS, PLANES
from repro.studies.interface_dcnn.multislice import NumpyWaves, Passes, probe_spectra
from repro.studies.interface_dcnn.potential import projected_potential, transmission_function
from repro.studies.interface_dcnn.simulate import N_CLASSES, Simulation, columns

pytestmark = pytest.mark.slow

# Thin columns, read at two thicknesses.
TINY = {
    "train": 3,
    "validation": 1,
    "test": 1,
    "n_cells": 4,
    "thicknesses": [7.81, 15.62],
    "n_positions": 5,
}


def tiny_spec():
    return load_spec("interface_dcnn").resolve("smoke", None, TINY)


def parameters_of(preset):
    return dict(load_spec("interface_dcnn").resolve(preset).parameters)


PARAMETERS = dict(tiny_spec().parameters)
SIMULATION = Simulation(**PARAMETERS)


def simulation(preset="desk", **changes):
    return Simulation(**{**parameters_of(preset), **changes})


@pytest.fixture(scope="module")
def five():
    """Return the variables of five samples made in one go."""
    return columns(0, 5, 0, PARAMETERS)


# The same bytes


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """Return a data set built by one worker without interruption."""
    return build(tiny_spec(), tmp_path_factory.mktemp("straight") / "set.h5")


def test_one_worker_and_several_give_the_same_bytes(straight, tmp_path):
    verify(straight)
    assert build(tiny_spec(), tmp_path / "set.h5", workers=2).read_bytes() == straight.read_bytes()


def test_a_shard_cut_off_by_a_crash_is_made_anew_and_the_others_are_kept(straight, tmp_path):
    def stop_after_four_shards(done, total):
        if done >= 4:
            raise KeyboardInterrupt

    out, calls = tmp_path / "set.h5", []
    with pytest.raises(KeyboardInterrupt):
        build(tiny_spec(), out, progress=stop_after_four_shards)
    cut_off = tmp_path / "set.h5.parts" / "shard-000000000.npz"
    cut_off.write_bytes(cut_off.read_bytes()[:2000])
    build(tiny_spec(), out, progress=lambda done, _: calls.append(done))
    assert calls == [3, 4, 5]
    assert out.read_bytes() == straight.read_bytes()


def test_a_sample_is_the_same_alone_and_among_others(five):
    alone = columns(3, 4, 0, PARAMETERS)
    for name, values in alone.items():
        np.testing.assert_array_equal(values[0], five[name][3], err_msg=name)


def test_a_data_set_holds_what_its_generator_gives(straight, five):
    dataset = Dataset.open(straight)
    assert set(five) == set(dataset.spec.variables)
    for name, values in five.items():
        np.testing.assert_array_equal(dataset.array(name), values, err_msg=name)


def test_seeds_differ_in_motion_and_structure(five):
    other = columns(2, 3, 1, PARAMETERS)
    for name in ("patterns", "transmitted", "mixing_probability"):
        assert not np.array_equal(five[name][2:3], other[name]), name


# Thermal motion


def structures():
    """Return very different structures of one length: flat, stepped and intermixed."""
    rng = np.random.default_rng(0)
    mixed = crystal.intermixing(rng.random((4, 2, 1)), 0.5, 1, 1, False)
    return [crystal.step(4, depth) for depth in (0, 2, 4)] + [mixed]


def test_thermal_motion_does_not_depend_on_the_class():
    passes, pools = [], []
    for exchanged in structures():
        kinds = simulate.slice_kinds(exchanged)
        drawn = simulate.draw_passes(SIMULATION, kinds, 7, 0)
        passes.append((drawn.transmission % SIMULATION.n_configurations, drawn.shift))
        order = sorted(set(kinds))
        pool = simulate.transmission_pool(SIMULATION, order, 7, 0)
        pools.append(dict(zip(order, np.split(pool, len(order)), strict=True)))
    for configuration, shift in passes:
        np.testing.assert_array_equal(configuration, passes[0][0])
        np.testing.assert_array_equal(shift, passes[0][1])
    for pool in pools[1:]:
        for kind in pool.keys() & pools[0].keys():
            np.testing.assert_array_equal(pool[kind], pools[0][kind])


def test_a_pattern_knows_nothing_of_the_crystal_below_its_thickness():
    upper, whole = (simulate.diffract(SIMULATION, crystal.step(4, k), 0, 0)[0] for k in (2, 4))
    np.testing.assert_allclose(upper[0], whole[0], rtol=1e-5, atol=1e-9)
    assert not np.allclose(upper[1], whole[1], rtol=1e-3, atol=0)


def test_displacements_have_the_tabulated_size_along_both_axes():
    desk = simulation()
    moved = {element: [] for element in DISPLACEMENTS}
    for plane, exchanged in [("A", 0), ("A", 1), ("B", 0), ("B", 1)]:
        at_rest = desk.crystal.slice_atoms(plane, exchanged)
        for number in range(100):
            atoms = simulate.displaced(desk, plane, exchanged, number, 0, 0)
            for element, positions in atoms.items():
                moved[element].append(positions - at_rest[element])
    for element, displacement in DISPLACEMENTS.items():
        motion = np.concatenate(moved[element])
        np.testing.assert_allclose(motion.std(axis=0), displacement, rtol=0.03, err_msg=element)
        np.testing.assert_allclose(motion.mean(axis=0), 0, atol=0.003, err_msg=element)


def test_every_sample_kind_and_configuration_moves_in_its_own_way():
    motions = {
        simulate.displaced(SIMULATION, plane, exchanged, number, index, seed)["O"].tobytes()
        for plane in PLANES
        for exchanged in range(2)
        for number in range(3)
        for index in range(2)
        for seed in range(2)
    }
    assert len(motions) == 48


def test_passes_draw_every_configuration_and_every_cell_alike_often():
    drawn_by = dataclasses.replace(SIMULATION, n_passes=500)
    kinds = simulate.slice_kinds(crystal.step(4, 2))
    passes = simulate.draw_passes(drawn_by, kinds, 0, 0)
    row = {kind: place for place, kind in enumerate(sorted(set(kinds)))}
    slices = np.array([row[kind] for kind in kinds])
    expected = np.broadcast_to(slices, passes.transmission.shape)
    np.testing.assert_array_equal(passes.transmission // SIMULATION.n_configurations, expected)
    cell = SIMULATION.n_y // SIMULATION.n_tiles
    for values in (passes.transmission % SIMULATION.n_configurations, passes.shift // cell):
        shares = np.bincount(values.ravel()) / values.size
        np.testing.assert_allclose(shares, 1 / 4, atol=0.02)
    assert (passes.shift % cell == 0).all()


def test_lines_and_passes_have_a_history_each():
    passes = simulate.draw_passes(SIMULATION, simulate.slice_kinds(crystal.step(4, 0)), 0, 0)
    histories = np.stack([passes.transmission, passes.shift], axis=-1).reshape(4, -1)
    assert len(np.unique(histories, axis=0)) == SIMULATION.n_lines * SIMULATION.n_passes == 4


# Structures


def test_samples_have_their_structure(five):
    np.testing.assert_array_equal(five["is_intermixed"], [1, 0, 1, 0, 1])
    for i, is_intermixed in enumerate(five["is_intermixed"]):
        exchanged, fraction = five["exchanged"][i], five["mixing_probability"][i]
        if is_intermixed:
            assert 0.05 <= fraction <= 0.5
            assert five["step_depth"][i] == 0
            assert not exchanged[:, 0].any()
        else:
            assert fraction == 0
            np.testing.assert_array_equal(exchanged, crystal.step(4, five["step_depth"][i]))
        shares = [exchanged[:n, 1].mean() for n in (2, 4)]
        np.testing.assert_allclose(five["exchanged_fraction"][i], shares)


def test_both_classes_come_in_their_shares_in_any_row_of_samples():
    for preset, share in [("smoke", 0.5), ("desk", 0.65)]:
        drawn_by = simulation(preset)
        is_step = [not simulate.draw_sample(drawn_by, i, 0).is_intermixed for i in range(160)]
        n_steps = np.cumsum(is_step)
        assert (np.abs(n_steps - share * np.arange(1, 161)) <= 1).all()


def test_a_share_of_none_or_all_is_kept():
    for share in (0.0, 1.0):
        drawn_by = simulation(step_share=share)
        drawn = [simulate.draw_sample(drawn_by, i, 0).is_intermixed for i in range(20)]
        assert drawn == [share == 0] * 20


def test_fractions_fill_their_range():
    drawn_by = simulation(step_share=0.0)
    fractions = [simulate.draw_sample(drawn_by, i, 0).fraction for i in range(400)]
    assert 0.05 <= min(fractions) < 0.06
    assert 0.49 < max(fractions) <= 0.5
    assert np.mean(fractions) == pytest.approx(0.275, abs=0.03)


def test_intermixed_samples_hold_the_titanium_they_drew():
    drawn_by = simulation(step_share=0.0)
    samples = [simulate.draw_sample(drawn_by, i, 0) for i in range(400)]
    surplus = np.mean([sample.exchanged[:, 1].mean() - sample.fraction for sample in samples])
    assert abs(surplus) < 5 * 0.45 / np.sqrt(400 * 77)
    assert not any(sample.exchanged[:, 0].any() for sample in samples)


def test_experiment_both_sites_exchanges_lanthanum_as_well():
    spec = load_spec("interface_dcnn").resolve("desk", "both_sites", {"step_share": 0.0})
    sample = simulate.draw_sample(Simulation(**spec.parameters), 0, 0)
    assert sample.exchanged.any(axis=0).all()
    assert not np.array_equal(*sample.exchanged.T), "both planes have the same pattern of exchange"


def test_experiment_three_layers_exchanges_three_layers():
    spec = load_spec("interface_dcnn").resolve("desk", "three_layers", {"step_share": 0.0})
    samples = [simulate.draw_sample(Simulation(**spec.parameters), i, 0) for i in range(5)]
    bits = np.concatenate([sample.exchanged[:, 1] for sample in samples])
    assert bits.max() == 0b111 or set(bits) >= {0b001, 0b010, 0b100}


# Step positions


def centres(drawn_by):
    return [[simulate.centre(n, label) for label in range(N_CLASSES)] for n in drawn_by.cells]


@pytest.mark.parametrize("preset", ["smoke", "desk", "paper"])
def test_a_class_centre_lies_in_its_class(preset):
    for n_cells, depths in zip(simulation(preset).cells, centres(simulation(preset)), strict=True):
        np.testing.assert_array_equal(np.round(10 * np.divide(depths, n_cells)), range(N_CLASSES))


@pytest.mark.parametrize("preset", ["smoke", "desk", "paper"])
def test_steps_cover_the_classes_of_all_thicknesses_evenly(preset):
    drawn_by, rounds = simulation(preset), []
    expected = np.sort(np.ravel(centres(drawn_by)))
    for turn in range(3):
        numbers = range(turn * len(expected), (turn + 1) * len(expected))
        rounds.append([simulate.step_depth(drawn_by, number, False, 0) for number in numbers])
        np.testing.assert_array_equal(np.sort(rounds[-1]), expected)
    assert rounds[0] != rounds[1] != rounds[2], "every round has the same order"


@pytest.mark.parametrize("preset", ["smoke", "desk", "paper"])
def test_unseen_depths_come_in_every_second_step_of_the_test_split_and_never_before(preset):
    spec = load_spec("interface_dcnn").resolve(preset)
    drawn_by = simulation(preset)
    assert drawn_by.unseen_from == spec.counts["train"] + spec.counts["validation"]
    samples = [simulate.draw_sample(drawn_by, i, 0) for i in range(spec.n_samples)]
    steps = [(i, s.depth) for i, s in enumerate(samples) if not s.is_intermixed]
    seen = {depth for i, depth in steps if i < drawn_by.unseen_from}
    later = [depth for i, depth in steps if i >= drawn_by.unseen_from]
    assert seen <= set(np.ravel(centres(drawn_by)))
    unseen = [depth not in np.ravel(centres(drawn_by)) for depth in later]
    assert sum(unseen) in (len(later) // 2, (len(later) + 1) // 2)
    assert not any(a and b for a, b in pairwise(unseen))
    assert all(0 <= depth <= drawn_by.n_cells for _, depth in steps)


# Probes


def test_lines_start_on_the_titanate_that_ends_the_substrate():
    desk = simulation()
    positions = desk.probe_positions
    assert positions.shape == (4, 13, 2)
    np.testing.assert_allclose(positions[:, 0, 0], desk.crystal.interface)
    np.testing.assert_allclose(np.diff(positions[..., 0], axis=1), 0.45)
    assert positions[..., 1].min() == pytest.approx(desk.crystal.size[1] / 2)


@pytest.mark.parametrize("n_lines", [2, 4])
def test_weights_of_the_lines_make_the_mean_over_the_whole_cell(n_lines):
    half = dataclasses.replace(SIMULATION, n_lines=n_lines)
    whole = dataclasses.replace(SIMULATION, n_lines=2 * (n_lines - 1), whole_cell=True)

    def mean_of_something_even(lines):
        values = np.exp(np.cos(2 * np.pi * lines.line_heights / A_SUBSTRATE))
        return lines.line_weights @ values

    assert mean_of_something_even(half) == pytest.approx(mean_of_something_even(whole))
    assert half.line_weights.sum() == pytest.approx(1)


def test_a_single_line_counts_whole():
    one = dataclasses.replace(SIMULATION, n_lines=1)
    np.testing.assert_array_equal(one.line_weights, [1])
    np.testing.assert_array_equal(one.line_heights, [0])


@pytest.mark.parametrize("n_x", [96, 97])
def test_lines_beyond_the_mirror_give_mirrored_patterns_of_atoms_at_rest(n_x):
    still = dataclasses.replace(SIMULATION, n_x=n_x)
    grid, positions = still.setting.grid, still.probe_positions[:, :2] + np.array([0, 0.6])
    pool = [
        transmission_function(
            grid, projected_potential(grid, still.crystal.slice_atoms(plane)), still.energy
        )
        for plane in PLANES
    ]
    passes = Passes(np.tile([0, 1], (2, 1, 4)), np.zeros((2, 1, 8), dtype=int))

    def patterns(at):
        probes = probe_spectra(grid, still.microscope, at.reshape(-1, 2))
        return NumpyWaves(still.setting, np.stack(pool)).patterns(
            probes.reshape(2, 2, *grid.shape), passes
        )[0]

    here, beyond = patterns(positions), patterns(positions * [1, -1] + [0, grid.size[1]])
    difference = np.linalg.norm(here - beyond[..., ::-1]) / np.linalg.norm(here)
    assert difference < 1e-5


# Patterns


def test_patterns_are_shares_of_one_electron(five):
    patterns, transmitted = five["patterns"], five["transmitted"]
    assert patterns.min() >= 0
    assert (patterns.sum(axis=(-2, -1)) <= transmitted).all()
    # A transmission function within the band swings a little above 1 beside an atom.
    assert transmitted.max() < 1 + 1e-4
    assert (transmitted[:, 1] < transmitted[:, 0]).all()


def test_a_step_shows_in_the_patterns_above_the_thermal_motion():
    still = dataclasses.replace(SIMULATION, n_passes=8)
    flat, stepped, other = (
        simulate.diffract(still, crystal.step(4, depth), index, 0)[0][-1]
        for depth, index in [(0, 0), (4, 0), (0, 1)]
    )
    assert np.linalg.norm(stepped - flat) > 2 * np.linalg.norm(other - flat)


# How long it takes


@pytest.fixture
def least_seconds(monkeypatch):
    """A function that returns the least processor time of three: others use the machine too."""
    monkeypatch.setattr(simulate, "perf_counter", process_time)

    def measure(workers=1, **changes):
        return min(simulate.seconds_per_sample(PARAMETERS | changes, workers) for _ in range(3))

    return measure


def test_workers_share_the_work_but_do_not_multiply_a_gpu(least_seconds, monkeypatch):
    alone, together = least_seconds(), least_seconds(workers=100)
    assert 100 / 3 < alone / together < 100 * 3
    monkeypatch.setattr(simulate, "has_gpu", lambda: True)
    assert least_seconds(workers=100) > 10 * together


def test_the_time_of_a_sample_grows_with_its_passes_and_cells(least_seconds):
    once = least_seconds()
    assert once > 0
    longer = {"n_cells": 32, "thicknesses": [7.81, 32 * A_SUBSTRATE]}
    for changes in ({"n_passes": 8 * SIMULATION.n_passes}, longer):
        assert 8 / 3 < least_seconds(**changes) / once < 8 * 3


def test_the_time_of_a_sample_grows_with_its_lines(least_seconds):
    assert 8 / 3 < least_seconds(n_lines=16) / least_seconds(n_lines=2) < 8 * 3


# Bad input


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"defocus": 1000.0}, r"a disc of 60 Å, wider than the cell's 1\d\.?\d* Å"),
        ({"semiangle": 58.0}, r"grid of 96 by 80 points .* 61\.8 mrad, too little .* 58 mrad"),
        ({"k_max": 1.7}, r"detector reaches to 1\.7 Å⁻¹, but the grid of 96 by 80 .* 1\.668 Å⁻¹"),
        ({"thicknesses": [8.0, 15.62]}, r"8\.0 Å is no whole number of cells of two slices"),
        (
            {"n_positions": 30},
            r"probe at \(\d+\.\d+, 7\.810\) Å stands outside the cell of 19\.180",
        ),
        ({"position_spacing": -2.0}, "stands outside the cell"),
        ({"n_y": 82}, "82 points along y do not divide into 4 cells: give a multiple"),
        (
            {"thicknesses": [15.62, 7.81], "n_cells": 2},
            r"rising thicknesses, not \[15\.62, 7\.81\]",
        ),
        ({"thicknesses": [15.62, 15.62]}, "Give different, rising thicknesses"),
        ({"n_cells": 5}, "column has 5 cells, but the last thickness 4: give both alike"),
        ({"n_configurations": 0}, "n_configurations is 0: give at least 1"),
        ({"n_passes": -1}, "n_passes is -1: give at least 1"),
        ({"n_positions": 0}, "n_positions is 0: give at least 1"),
        ({"n_lines": 0}, "n_lines is 0: give at least 1"),
        ({"n_bins": 0}, "n_bins is 0: give at least 1"),
        ({"n_film": 0}, "2 SrTiO3 and 0 LaAlO3 cells .* has no interface"),
        ({"c_film": -3.79}, "has no interface"),
        ({"energy": -100.0}, "does not exist: both are numbers above 0"),
        ({"step_share": 1.2}, "lie within 0 and 1"),
        ({"mixing_decay": -0.5}, "lie within 0 and 1"),
        ({"fraction_range": [0.1]}, r"fraction_range takes two fractions, not \[0\.1\]"),
        ({"n_tiles": 0}, "n_tiles is 0: give at least 1"),
        ({"n_mixed_layers": 0}, "n_mixed_layers is 0: give at least 1"),
        ({"n_mixed_layers": 4}, "4 layers cannot take part in the intermixing of a film of 3"),
        ({"n_film": 10, "n_mixed_layers": 9}, "give at most as many, and at most 8"),
        ({"k_max": -1.0}, "sees nothing: both are numbers above 0"),
        ({"fraction_range": [0.5, 0.1]}, "lie within 0 and 1"),
    ],
    ids=str,
)
def test_parameters_that_do_not_go_together_are_refused_in_a_sentence(changes, message):
    with pytest.raises(ReproError, match=message):
        columns(0, 1, 0, PARAMETERS | changes)


@pytest.mark.parametrize("preset", ["smoke", "desk", "paper"])
def test_presets_go_together(preset):
    drawn_by = simulation(preset)
    probe_spectra(drawn_by.setting.grid, drawn_by.microscope, drawn_by.probe_positions[0])
    assert drawn_by.setting.readouts[-1] == 2 * drawn_by.n_cells
