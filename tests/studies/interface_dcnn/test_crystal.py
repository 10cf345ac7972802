"""The crystal against perovskite geometry, by ASE, and the exchanges against their definition."""

from collections import Counter

import numpy as np
import pytest

from repro.errors import ReproError
from repro.studies.interface_dcnn.crystal import (
    A_SUBSTRATE,
    DISPLACEMENTS,
    SLICE_THICKNESS,
    Crystal,
    intermixing,
    step,
    whole_cells,
)
from repro.studies.interface_dcnn.potential import LOBATO

DESK = Crystal(5, 5, 3.79, 8)
SMALL = Crystal(2, 3, 3.79, 2)
N_CELLS = 3


def flat(n_cells):
    return step(n_cells, 0)


def as_ase(crystal, exchanged):
    ase = pytest.importorskip("ase", reason="ASE is missing: pip install ase")
    symbols, positions = crystal.atoms(exchanged)
    cell = [*crystal.size, len(exchanged) * A_SUBSTRATE]
    return ase.Atoms(symbols, positions=positions, cell=cell, pbc=True)


def neighbours(atoms, element, other, cutoff):
    """Return how many atoms of another element each atom of an element has within a distance."""
    from ase.neighborlist import neighbor_list

    symbols = np.array(atoms.get_chemical_symbols())
    first, second = neighbor_list("ij", atoms, cutoff)
    first = first[np.isin(symbols[second], other)]
    return np.bincount(first, minlength=len(symbols))[symbols == element]


def by_place(crystal, exchanged):
    """Return the element at each place."""
    symbols, positions = crystal.atoms(exchanged)
    return dict(zip(map(tuple, positions.round(6).tolist()), symbols, strict=True))


def changes(crystal, exchanged):
    """Return which element took whose place, and where, against the flat interface."""
    before, after = by_place(crystal, flat(len(exchanged))), by_place(crystal, exchanged)
    assert before.keys() == after.keys(), "an atom has moved"
    return {place: (before[place], new) for place, new in after.items() if new != before[place]}


# The flat interface


@pytest.mark.parametrize("crystal", [SMALL, DESK], ids=["small", "desk"])
def test_stoichiometry_is_that_of_whole_cells(crystal):
    counts = Counter(as_ase(crystal, flat(N_CELLS)).get_chemical_symbols())
    cells = crystal.n_tiles * N_CELLS
    titanate, aluminate = cells * crystal.n_substrate, cells * crystal.n_film
    expected = {"Sr": titanate, "Ti": titanate, "La": aluminate, "Al": aluminate}
    assert counts == expected | {"O": 3 * (titanate + aluminate)}


def test_atoms_keep_their_distance_through_all_boundaries():
    from_each_other = as_ase(SMALL, flat(N_CELLS)).get_all_distances(mic=True)
    np.fill_diagonal(from_each_other, np.inf)
    assert from_each_other.min() > 1.8
    assert from_each_other.min() == pytest.approx(3.79 / 2, abs=1e-6)


def test_cations_sit_in_the_cages_of_a_perovskite():
    atoms = as_ase(Crystal(3, 3, 3.79, 2), step(N_CELLS, 1))
    for cation in ("Ti", "Al"):
        assert set(neighbours(atoms, cation, ["O"], 2.1)) == {6}
    for cation in ("Sr", "La"):
        assert set(neighbours(atoms, cation, ["O"], 2.9)) == {12}
        assert set(neighbours(atoms, cation, ["Ti", "Al"], 3.5)) == {8}


@pytest.mark.parametrize(
    ("crystal", "length"),
    [(SMALL, 19.18), (DESK, 38.475), (Crystal(4, 6, 3.715, 8), 37.91)],
    ids=["smoke", "desk", "paper"],
)
def test_length_along_x_is_that_of_the_cells(crystal, length):
    cell = as_ase(crystal, flat(1)).cell.lengths()
    np.testing.assert_allclose(cell, [length, crystal.n_tiles * 3.905, 3.905], atol=1e-9)
    _, _, cap = crystal.layers[-1]
    assert cap + A_SUBSTRATE / 2 == pytest.approx(length), "the cap does not end in a whole cell"


def test_layers_alternate_from_the_titanate_to_the_strontium_cap():
    cations = "".join(f"{cation} " for cation, _, _ in Crystal(3, 2, 3.79, 1).layers)
    assert cations == "Ti Sr Ti Sr Ti La Al La Al Sr "


def test_layers_are_half_a_cell_apart_and_half_of_each_at_the_interfaces():
    _, _, heights = zip(*Crystal(2, 2, 3.79, 1).layers, strict=True)
    substrate, film = 3.905 / 2, 3.79 / 2
    mean = (substrate + film) / 2
    expected = [substrate, substrate, mean, film, film, film, mean]
    np.testing.assert_allclose(np.diff(heights), expected)


def test_interface_is_the_last_titanate_layer_below_the_film():
    cation, _, height = DESK.layers[DESK.first_film_layer - 1]
    assert (cation, DESK.layers[DESK.first_film_layer][0]) == ("Ti", "La")
    assert DESK.interface == height == pytest.approx(4 * A_SUBSTRATE)


def test_a_cell_along_the_beam_is_two_slices():
    symbols, positions = SMALL.atoms(flat(2))
    np.testing.assert_allclose(np.unique(positions[:, 2]), SLICE_THICKNESS * np.arange(4))
    first_plane = {s for s, z in zip(symbols, positions[:, 2], strict=True) if z == 0}
    assert first_plane == {"Sr", "La", "O"}


def test_every_element_of_the_crystal_has_a_form_factor_and_a_thermal_motion():
    elements = set(SMALL.atoms(step(2, 1))[0])
    assert elements == set(DISPLACEMENTS) == set(LOBATO)


def test_a_mirror_makes_the_two_halves_of_the_cell_equal():
    for plane in "AB":
        for element, positions in SMALL.slice_atoms(plane, 1).items():
            there, mirrored = positions.round(6), positions * [1, -1] % SMALL.size
            assert set(map(tuple, there)) == set(map(tuple, mirrored.round(6))), element


# Steps


def test_a_step_of_full_depth_is_the_flat_interface_one_cell_higher():
    # Without a change of the cell's height, which a step leaves as it was.
    lower, higher = Crystal(2, 3, A_SUBSTRATE, 2), Crystal(3, 2, A_SUBSTRATE, 2)
    stepped, grown = as_ase(lower, step(N_CELLS, N_CELLS)), as_ase(higher, flat(N_CELLS))
    assert stepped.get_chemical_formula() == grown.get_chemical_formula()
    np.testing.assert_allclose(stepped.cell, grown.cell)
    assert by_place(lower, step(N_CELLS, N_CELLS)) == by_place(higher, flat(N_CELLS))


def test_a_step_exchanges_the_first_film_cell_down_to_its_depth_and_moves_no_atom():
    (_, _, lanthanum), (_, _, aluminium) = SMALL.layers[SMALL.first_film_layer :][:2]
    counts = Counter(
        (*pair, round(x, 6), round(z, 6)) for (x, _, z), pair in changes(SMALL, step(4, 3)).items()
    )
    planes = [("La", "Sr", round(lanthanum, 6), 0.0), ("Al", "Ti", round(aluminium, 6), 0.5)]
    expected = {
        (old, new, x, round((cell + plane) * A_SUBSTRATE, 6)): SMALL.n_tiles
        for cell in range(3)
        for old, new, x, plane in planes
    }
    assert counts == expected


# Intermixing


def draws(n_layers, n_cells=20_000):
    return np.random.default_rng(0).random((n_cells, 2, n_layers))


def test_intermixing_puts_titanium_on_aluminium_sites_only():
    pairs = changes(SMALL, intermixing(np.zeros((4, 2, 1)), 1, 1, 1, False)).values()
    assert Counter(pairs) == {("Al", "Ti"): 4 * SMALL.n_tiles}


def test_intermixing_of_both_sites_puts_strontium_on_lanthanum_sites_too():
    pairs = changes(SMALL, intermixing(np.zeros((4, 2, 1)), 1, 1, 1, True)).values()
    assert Counter(pairs) == {("Al", "Ti"): 4 * SMALL.n_tiles, ("La", "Sr"): 4 * SMALL.n_tiles}


@pytest.mark.parametrize("fraction", [0.0, 0.05, 0.5, 1.0])
def test_as_many_sites_are_exchanged_as_the_fraction_says(fraction):
    a_plane, b_plane = intermixing(draws(1), fraction, 1, 0.5, True).T
    five_sigma = 5 * np.sqrt(fraction * (1 - fraction) / 20_000)
    assert a_plane.mean() == pytest.approx(fraction, abs=five_sigma)
    assert b_plane.mean() == pytest.approx(fraction, abs=five_sigma)


def test_intermixing_fades_from_layer_to_layer():
    bits = intermixing(draws(3), 0.4, 3, 0.5, False)[:, 1]
    shares = [(bits >> layer & 1).mean() for layer in range(3)]
    np.testing.assert_allclose(shares, [0.4, 0.2, 0.1], atol=5 * np.sqrt(0.24 / 20_000))


def test_each_bit_stands_for_the_film_layer_of_its_number():
    aluminium = [x for cation, _, x in SMALL.layers if cation == "Al"]
    for layer, x in enumerate(aluminium):
        atoms = SMALL.slice_atoms("B", 1 << layer)
        assert x in atoms["Ti"][:, 0]
        assert x not in atoms["Al"][:, 0]


# Bad input


@pytest.mark.parametrize(
    "sizes", [(0, 3, 3.79, 2), (2, 0, 3.79, 2), (2, 3, 0.0, 2), (2, 3, 3.79, 0)]
)
def test_a_crystal_without_an_interface_is_refused(sizes):
    with pytest.raises(ReproError, match="has no interface: give at least one cell of each"):
        Crystal(*sizes)


def test_a_thickness_between_two_cells_is_refused_and_both_are_named():
    with pytest.raises(ReproError, match=r"100\.0 Å is no whole number.*97\.6250 and 101\.5300"):
        whole_cells(100.0)


@pytest.mark.parametrize("thickness", [0.0, -3.905, SLICE_THICKNESS])
def test_a_thickness_below_one_cell_is_refused(thickness):
    with pytest.raises(ReproError, match=r"nearest are 3\.9050 and 7\.8100"):
        whole_cells(thickness)


def test_whole_cells_are_counted():
    assert [whole_cells(t) for t in (3.905, 101.53, 300.685)] == [1, 26, 77]
