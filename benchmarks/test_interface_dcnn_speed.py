"""Speed of the patterns of `interface_dcnn`, beside what does the same in the same run.

That is abTEM, SciPy's transforms, one process in place of two, or the bare Fourier transforms.
Programs that are compared take turns, on one thread each unless it says otherwise.
"""

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import keras
import numpy as np
import pytest
import scipy.fft
from threadpoolctl import threadpool_limits

from repro.datasets.build import generate
from repro.datasets.spec import load_spec
from repro.studies.interface_dcnn import fourier, multislice, simulate
from repro.studies.interface_dcnn.crystal import PLANES, SLICE_THICKNESS
from repro.studies.interface_dcnn.model import DROPOUT, published_network
from repro.studies.interface_dcnn.multislice import JaxWaves, NumpyWaves, Passes, probe_spectra
from repro.studies.interface_dcnn.potential import projected_potential, transmission_function
from repro.studies.interface_dcnn.recipe import CLASS_BATCH, FAITHFUL
from repro.training.precision import precision
from repro.training.recipe import is_compiled

SPEC = load_spec("interface_dcnn")
N_CELLS = 26  # 100 Å, 52 slices
GRIDS = {"288x120": (288, 120, 4), "512x512": (512, 512, 8)}  # points along x and y, tiles
PAPER_PASSES = 4
GRID = pytest.mark.parametrize("grid", GRIDS)


def simulation(grid, **changes):
    """Return the preset desk on another grid, of 100 Å."""
    n_x, n_y, n_tiles = GRIDS[grid]
    thickness = {"n_cells": N_CELLS, "thicknesses": [round(N_CELLS * 3.905, 3)]}
    own = {"n_x": n_x, "n_y": n_y, "n_tiles": n_tiles, "n_lines": 1, **thickness, **changes}
    return simulate.Simulation(**{**SPEC.resolve("desk").parameters, **own})


class Line:
    """A line of 13 probes on a flat interface whose every slice has its own thermal motion."""

    def __init__(self, grid):
        drawn = simulation(grid)
        self.setting, self.microscope = drawn.setting, drawn.microscope
        self.positions = drawn.probe_positions[0]
        n_slices = self.setting.readouts[-1]
        self.potentials = np.stack(
            [
                projected_potential(
                    self.setting.grid, simulate.displaced(drawn, PLANES[i % 2], 0, i, 0, 0)
                ).astype(np.float32)
                for i in range(n_slices)
            ]
        )
        in_order = np.arange(n_slices)[None, None]
        self.passes = Passes(in_order, np.zeros_like(in_order))
        self.n_probe_slices = len(self.positions) * n_slices

    def prepare(self):
        """Return the transmission functions and the probes."""
        grid, energy = self.setting.grid, self.setting.energy
        functions = [transmission_function(grid, v, energy) for v in self.potentials]
        return np.stack(functions), probe_spectra(grid, self.microscope, self.positions)[None]


class AbtemLine:
    """The same line in abTEM, with the same potential."""

    def __init__(self, abtem, line):
        grid, microscope = line.setting.grid, line.microscope
        self.energy = 1e3 * microscope.energy
        self.potential = abtem.PotentialArray(
            line.potentials, slice_thickness=SLICE_THICKNESS, extent=grid.size
        )
        self.probe = abtem.Probe(
            energy=self.energy,
            semiangle_cutoff=microscope.semiangle,
            extent=grid.size,
            gpts=grid.shape,
        )
        self.scan = abtem.CustomScan(line.positions)
        self.aperture = abtem.antialias.AntialiasAperture()

    def prepare(self):
        """Make the transmission functions and the probes, as `patterns` does on its way."""
        self.probe.build(scan=self.scan)
        self.aperture.bandlimit(self.potential.transmission_function(self.energy))

    def patterns(self):
        """Return the patterns, ``(13, n_x, n_y)``."""
        waves = self.probe.multislice(self.potential, scan=self.scan)
        return waves.diffraction_patterns(max_angle="full", parity="same").array


@pytest.fixture
def abtem():
    """Return abTEM on one thread, in single precision, computing at once."""
    program = pytest.importorskip("abtem", reason="abTEM is missing: pip install abtem ase")
    one_thread = {"fftw.threads": 1, "scheduler": "synchronous", "dask.lazy": False}
    with program.config.set({"precision": "float32", **one_thread}):
        yield program


@GRID
def test_numpy_against_abtem(benchmark, abtem, grid, take_turns):
    """13 probes through 52 slices, from the same potential.

    ``speedup_over_abtem`` is of the waves alone, what they need being made before (abTEM makes it
    on the way: its time is taken apart and left out), as a data set uses each function many times.
    """
    line = Line(grid)
    functions, probes = line.prepare()
    ours, theirs = NumpyWaves(line.setting, functions), AbtemLine(abtem, line)
    with threadpool_limits(1):
        _, transmitted = ours.patterns(probes, line.passes)
        np.testing.assert_allclose(transmitted[0, 0], theirs.patterns().sum(axis=(1, 2)), rtol=1e-4)
        seconds = take_turns(
            abtem=theirs.patterns,
            abtem_preparation=theirs.prepare,
            waves=lambda: ours.patterns(probes, line.passes),
            preparation=line.prepare,
        )
    benchmark.extra_info |= {
        "probe_slices_per_second": line.n_probe_slices / seconds["waves"],
        "speedup_over_abtem": (seconds["abtem"] - seconds["abtem_preparation"]) / seconds["waves"],
        "speedup_over_abtem_with_preparation": seconds["abtem"]
        / (seconds["waves"] + seconds["preparation"]),
    }


@GRID
@pytest.mark.skipif(not fourier.HAS_MKL, reason="mkl_fft is missing: the transforms are SciPy's")
def test_mkl_against_scipy_transforms(benchmark, grid, take_turns):
    """The same waves with the transforms of either."""
    line = Line(grid)
    functions, probes = line.prepare()
    ours = NumpyWaves(line.setting, functions)

    def with_mkl():
        ours.patterns(probes, line.passes)

    def with_scipy():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(multislice, "transform_rows", scipys(scipy.fft.fft))
            patch.setattr(multislice, "invert_rows", scipys(scipy.fft.ifft))
            ours.patterns(probes, line.passes)

    with threadpool_limits(1):
        seconds = take_turns(mkl=with_mkl, scipy=with_scipy)
    benchmark.extra_info["speedup_over_scipy"] = seconds["scipy"] / seconds["mkl"]


def scipys(transform):
    """Return what `repro.studies.interface_dcnn.fourier` defines where mkl_fft is missing."""

    def rows_to_rows(rows, out):
        out[...] = transform(rows, axis=-1)

    return rows_to_rows


@GRID
def test_jax_against_numpy(benchmark, grid, take_turns):
    """JAX on all that it finds, NumPy on one thread."""
    import jax

    line = Line(grid)
    functions, probes = line.prepare()
    numpy_waves, jax_waves = (kind(line.setting, functions) for kind in (NumpyWaves, JaxWaves))
    with threadpool_limits(1):
        seconds = take_turns(
            jax=lambda: jax_waves.patterns(probes, line.passes),
            numpy=lambda: numpy_waves.patterns(probes, line.passes),
        )
    benchmark.extra_info |= {
        "platform": jax.default_backend(),
        "probe_slices_per_second": line.n_probe_slices / seconds["jax"],
        "speedup_over_numpy": seconds["numpy"] / seconds["jax"],
    }


def test_jax_on_a_gpu_against_bare_transforms(benchmark, take_turns):
    """A column of the preset paper, 247 probes on 512x512: there is no more than its transforms."""
    if not multislice.has_gpu():
        pytest.skip("JAX has no GPU here")
    drawn = simulate.Simulation(**{**SPEC.resolve("paper").parameters, "n_passes": PAPER_PASSES})
    kinds = simulate.slice_kinds(simulate.crystal.step(drawn.n_cells, drawn.n_cells // 2))
    pool = simulate.transmission_pool(drawn, sorted(set(kinds)), 0, 0)
    passes = simulate.draw_passes(drawn, kinds, 0, 0)
    positions = drawn.probe_positions
    probes = probe_spectra(drawn.setting.grid, drawn.microscope, positions.reshape(-1, 2))
    probes = probes.reshape(*positions.shape[:2], drawn.n_x, drawn.n_y)
    waves = JaxWaves(drawn.setting, pool)
    seconds = take_turns(
        waves=lambda: waves.patterns(probes, passes),
        transforms=bare_transforms(probes, len(kinds) * PAPER_PASSES),
    )
    n_probe_slices = positions.shape[0] * positions.shape[1] * len(kinds) * PAPER_PASSES
    benchmark.extra_info |= {
        "probe_slices_per_second": n_probe_slices / seconds["waves"],
        "share_of_bare_transforms": seconds["transforms"] / seconds["waves"],
    }


def bare_transforms(probes, n_slices):
    """Return a function that transforms probes to real space and back, slice by slice."""
    import jax
    import jax.numpy as jnp

    def there_and_back(_, spectra):
        return jnp.fft.fft2(jnp.fft.ifft2(spectra))

    loop = jax.jit(lambda spectra: jax.lax.fori_loop(0, n_slices, there_and_back, spectra))
    on_device = jax.device_put(probes)
    return lambda: loop(on_device).block_until_ready()


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one core cannot show what two gain")
def test_two_processes_against_one(benchmark, monkeypatch, take_turns):
    """A sample of the preset desk each, with fewer passes, as `repro data build` makes it."""
    for variable, value in (("OMP_NUM_THREADS", "1"), ("JAX_PLATFORMS", "cpu")):
        monkeypatch.setenv(variable, value)  # read by the processes when they start
    fewer = {"n_passes": 2, "n_lines": 2, "thicknesses": [3.905 * N_CELLS], "n_cells": N_CELLS}
    spec = SPEC.resolve("desk", None, fewer)
    sample = (spec.generator, 0, 1, spec.seed, dict(spec.parameters))
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:

        def at_once(number):
            for done in [pool.submit(generate, *sample) for _ in range(number)]:
                done.result()

        seconds = take_turns(two=lambda: at_once(2), one=lambda: at_once(1))
    benchmark.extra_info["speedup_over_one_process"] = 2 * seconds["one"] / seconds["two"]


# Training


def plain_network(shape, n_outputs, architecture):
    """Return the published network of Keras's own layers alone."""
    inputs = x = keras.layers.Input(shape)
    for _ in range(architecture.n_convolutions):
        x = keras.layers.Conv3D(architecture.n_filters, architecture.kernel, activation="relu")(x)
        x = keras.layers.Dropout(DROPOUT)(x)
    x = keras.layers.Flatten()(keras.layers.AveragePooling3D(architecture.pool)(x))
    for width in architecture.dense:
        x = keras.layers.Dropout(DROPOUT)(keras.layers.Dense(width, activation="relu")(x))
    return keras.Model(inputs, keras.layers.Dense(n_outputs, activation="softmax")(x))


def test_training_step_against_plain_keras_bfloat16_and_xla(benchmark, take_turns):
    """Steps of the published network of the preset desk: what was chosen, and what was not."""
    scale = FAITHFUL["desk"]
    question = (13, scale.n_bins, scale.n_bins, 1), 2, scale.architecture
    draws = np.random.default_rng(0)
    x = draws.standard_normal((CLASS_BATCH, *question[0]), dtype=np.float32)
    y = draws.integers(0, 2, CLASS_BATCH)

    def step(build, policy="float32", jit_compile=False):
        with precision(policy):
            model = build(*question)
        loss = "sparse_categorical_crossentropy"
        model.compile(keras.optimizers.SGD(0.01), loss, jit_compile=is_compiled(jit_compile))
        return lambda: model.train_on_batch(x, y)

    seconds = take_turns(
        ours=step(published_network),
        plain=step(plain_network),
        bfloat16=step(published_network, "mixed_bfloat16"),
        xla=step(published_network, jit_compile=True),
    )
    benchmark.extra_info |= {
        "examples_per_second": CLASS_BATCH / seconds["ours"],
        "speedup_over_plain_keras": seconds["plain"] / seconds["ours"],
        "speedup_of_bfloat16": seconds["ours"] / seconds["bfloat16"],
        "speedup_without_xla": seconds["xla"] / seconds["ours"],
    }
