"""The forward model against abTEM, a multislice program of others.

Compared is the whole plane below the band limit: the patterns of both programs, abTEM's own
diffraction patterns among them, are read by one detector that reaches to the limit and whose bins
are no wider than a pixel.
"""

import numpy as np
import pytest

from repro.studies.interface_dcnn.crystal import PLANES, SLICE_THICKNESS, Crystal
from repro.studies.interface_dcnn.multislice import (
    Detector,
    Microscope,
    NumpyWaves,
    Passes,
    Setting,
    probe_spectra,
)
from repro.studies.interface_dcnn.potential import (
    LOBATO,
    Grid,
    form_factor,
    interaction_parameter,
    projected_potential,
    transmission_function,
    wavelength,
)

pytestmark = pytest.mark.slow

ENERGY, SEMIANGLE = 100.0, 30.0  # [keV], [mrad]
CRYSTAL = Crystal(5, 5, 3.79, 4)
GRID = Grid((288, 120), CRYSTAL.size)
POSITIONS = np.stack(
    [CRYSTAL.interface + 0.45 * np.arange(13), np.full(13, CRYSTAL.size[1] / 2 - 0.3)], axis=1
)
N_BINS = int(np.ceil(2 * GRID.cutoff * max(GRID.size)))


@pytest.fixture(scope="module")
def abtem():
    """Return abTEM on one thread, in single precision, computing at once."""
    program = pytest.importorskip("abtem", reason="abTEM is missing: pip install abtem ase")
    one_thread = {"fftw.threads": 1, "scheduler": "synchronous", "dask.lazy": False}
    with program.config.set({"precision": "float32", **one_thread}):
        yield program


def displaced(plane, rng):
    """Return the atoms of a slice, each moved by about 0.08 Å along either axis."""
    return {
        element: positions + 0.08 * rng.standard_normal(positions.shape)
        for element, positions in CRYSTAL.slice_atoms(plane).items()
    }


def slices(n_slices):
    rng = np.random.default_rng(0)
    return [displaced(PLANES[i % 2], rng) for i in range(n_slices)]


def on_points(atoms):
    """Return the atoms moved to the next points of the grid."""
    spacing = np.divide(GRID.size, GRID.shape)
    return {
        element: np.round(positions / spacing) % GRID.shape * spacing
        for element, positions in atoms.items()
    }


def setting(n_slices):
    detector = Detector(N_BINS, GRID.cutoff)
    return Setting(GRID, ENERGY, SLICE_THICKNESS, detector, (n_slices,))


def our_patterns(potentials):
    """Return our patterns, ``(13, N_BINS, N_BINS)``, and what they sum to below the limit."""
    functions = [transmission_function(GRID, potential, ENERGY) for potential in potentials]
    in_order = np.arange(len(potentials))[None, None]
    probes = probe_spectra(GRID, Microscope(ENERGY, SEMIANGLE), POSITIONS)
    patterns, transmitted = NumpyWaves(setting(len(potentials)), np.stack(functions)).patterns(
        probes[None], Passes(in_order, np.zeros_like(in_order))
    )
    return patterns[0, 0], transmitted[0, 0]


def their_patterns(abtem, potential):
    """Return abTEM's patterns, ``(13, N_BINS, N_BINS)``, and what they sum to below the limit."""
    probe = abtem.Probe(
        energy=1e3 * ENERGY, semiangle_cutoff=SEMIANGLE, extent=GRID.size, gpts=GRID.shape
    )
    waves = probe.multislice(potential, scan=abtem.CustomScan(POSITIONS))
    planes = np.asarray(
        waves.diffraction_patterns(max_angle="full", parity="same", fftshift=False).array
    )
    assert planes.shape == (len(POSITIONS), *GRID.shape)
    bins_x, bins_y = setting(1).bins()
    return bins_x @ planes @ bins_y.T, planes.sum(axis=(1, 2))


def relative_error(values, expected):
    return np.linalg.norm(values - expected) / np.linalg.norm(expected)


def test_the_same_potential_gives_abtems_patterns(abtem):
    potentials = np.stack([projected_potential(GRID, atoms) for atoms in slices(52)])
    array = abtem.PotentialArray(
        potentials.astype(np.float32), slice_thickness=SLICE_THICKNESS, extent=GRID.size
    )
    (ours, transmitted), (theirs, left) = our_patterns(potentials), their_patterns(abtem, array)
    assert relative_error(ours, theirs) < 1e-4
    for position in range(len(POSITIONS)):
        assert relative_error(ours[position], theirs[position]) < 1e-4
    np.testing.assert_allclose(transmitted, left, rtol=1e-4)


def test_the_same_atoms_on_points_give_abtems_patterns_by_its_own_potential(abtem):
    # abTEM spreads an atom elsewhere over four points, which no exact sum does.
    import ase

    layers = [on_points(atoms) for atoms in slices(26)]
    symbols = [e for atoms in layers for e, positions in atoms.items() for _ in positions]
    places = [
        (*place, (i + 0.5) * SLICE_THICKNESS)
        for i, atoms in enumerate(layers)
        for positions in atoms.values()
        for place in positions
    ]
    cell = [*GRID.size, len(layers) * SLICE_THICKNESS]
    potential = abtem.Potential(
        ase.Atoms(symbols, positions=places, cell=cell, pbc=True),
        gpts=GRID.shape,
        slice_thickness=SLICE_THICKNESS,
        parametrization="lobato",
        projection="infinite",
    )
    assert len(potential) == len(layers)
    ours, transmitted = our_patterns([projected_potential(GRID, atoms) for atoms in layers])
    theirs, left = their_patterns(abtem, potential)
    assert relative_error(ours, theirs) < 1e-2
    np.testing.assert_allclose(transmitted, left, atol=1e-2)


def test_wavelength_and_interaction_parameter_are_abtems(abtem):
    from abtem.core.energy import energy2sigma, energy2wavelength

    for energy in (60.0, 100.0, 300.0):
        assert wavelength(energy) == pytest.approx(energy2wavelength(1e3 * energy), rel=1e-6)
        assert interaction_parameter(energy) == pytest.approx(energy2sigma(1e3 * energy), rel=1e-6)


@pytest.mark.parametrize("element", LOBATO)
def test_constants_of_the_form_factors_are_abtems(abtem, element):
    from abtem.parametrizations import LobatoParametrization

    table, k = LobatoParametrization(), np.linspace(0, 6, 50)
    np.testing.assert_allclose(LOBATO[element], table.parameters[element], rtol=1e-9)
    theirs = table.scattering_factor(element)(k**2)
    np.testing.assert_allclose(form_factor(element, k), theirs, rtol=2e-5)
