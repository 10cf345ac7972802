"""Speed of every step of `mamba`, at 12 layers: generation, extraction, refinement, training.

Rates stand beside what they are compared with, measured in the same run. How fast networks
train is timed by `repro bench`.
"""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from statistics import median
from time import perf_counter
from timeit import timeit

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from repro.studies.mamba import simulate
from repro.studies.mamba.extract import extract
from repro.studies.mamba.model import PUBLISHED_WIDTHS, faithful_unet
from repro.studies.mamba.refine import refine
from repro.training.precision import precision
from repro.training.recipe import is_compiled

PARAMETERS = {"n_layers": 12}
FILM = simulate.Film(**PARAMETERS)
PUBLISHED_FILMS_PER_SECOND = 132  # the authors' own figure
SHARD = 500
N_SHARDS = 8
N_LOOPED = 4
N_EXTRACTED = 1000
N_REFINED = 50
BATCH_SIZE = 32  # the published one


def add_rates(benchmark, **counts):
    """Note what was done per second, at the median time; nothing if times are not taken."""
    if benchmark.stats is not None:
        for name, count in counts.items():
            benchmark.extra_info[name] = count / benchmark.stats.stats.median


@pytest.fixture(scope="module")
def films():
    """Return the variables of 1000 films."""
    return simulate.films(0, N_EXTRACTED, 0, PARAMETERS)


# Generation


def loop_field(z_atoms, fractions):
    """Return the field of one film, ``(16, 240)``: eq. 2 cell by cell and species by species."""
    field = np.zeros((simulate.N_RODS, simulate.N_L), dtype=np.complex128)
    table = simulate.species_table()
    for cell, heights in enumerate(z_atoms):
        for species, site in enumerate(simulate.SITE_OF_SPECIES):
            wave = np.exp(1j * simulate.Q_Z * heights[site])
            field += fractions[species, cell] * table[species] * wave
    return field


def loop_films(n_films):
    """Return the fields and the log intensities of films, one film after the other."""
    structures = simulate.draw_structures(0, n_films, 0, FILM)
    fractions = simulate.cell_fractions(FILM, structures["p_intermixing"])
    fields = [loop_field(*film) for film in zip(structures["z_atoms"], fractions, strict=True)]
    return np.stack(fields), np.stack([simulate.log_intensity(field) for field in fields])


@pytest.fixture(scope="module")
def loop_films_per_second():
    """Return how many films a second the plain loop makes."""
    loop_films(1)
    begin = perf_counter()
    fields, _ = loop_films(N_LOOPED)
    rate = N_LOOPED / (perf_counter() - begin)
    generated = simulate.films(0, N_LOOPED, 0, PARAMETERS)
    np.testing.assert_allclose(fields.real, generated["field_real"], rtol=1e-5, atol=1e-4)
    return rate


def add_generation_rates(benchmark, n_films, loop_films_per_second):
    """Note films per second beside the plain loop's and the published ones."""
    speedup = n_films / loop_films_per_second
    add_rates(benchmark, films_per_second=n_films, speedup_over_plain_loop=speedup)
    benchmark.extra_info["loop_films_per_second"] = loop_films_per_second
    benchmark.extra_info["published_films_per_second"] = PUBLISHED_FILMS_PER_SECOND


def test_generation_in_one_process(benchmark, loop_films_per_second):
    """Films and their rods, on one core."""
    with threadpool_limits(1):
        benchmark.pedantic(
            simulate.films, args=(0, SHARD, 0, PARAMETERS), rounds=10, warmup_rounds=1
        )
    add_generation_rates(benchmark, SHARD, loop_films_per_second)


def test_generation_in_two_processes(benchmark, loop_films_per_second, monkeypatch):
    """Films and their rods, on two cores."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # read by the workers when they start
    names = {"films": simulate.films, "shard": SHARD, "parameters": PARAMETERS}
    generate = "films(0, shard, 0, parameters)"
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:

        def both():
            work = [pool.submit(timeit, generate, number=N_SHARDS, globals=names) for _ in range(2)]
            return [done.result() for done in work]

        benchmark.pedantic(both, rounds=5, warmup_rounds=2)
    add_generation_rates(benchmark, 2 * N_SHARDS * SHARD, loop_films_per_second)


# From field and intensity to structure


def test_extraction_of_1000_films(benchmark, films):
    """From true fields to structures."""
    field = films["field_real"] + 1j * films["field_imag"]
    structure = benchmark.pedantic(extract, args=(FILM, field), rounds=3, warmup_rounds=1)
    add_rates(benchmark, films_per_second=N_EXTRACTED)
    error = np.abs(structure.z_atoms - films["z_atoms"])
    benchmark.extra_info["median_height_error_angstrom"] = float(np.median(error[:, 1:]))


def test_refinement_from_nominal(benchmark, films):
    """From log intensities to structures, without a network."""
    measured = films["log_intensity"][:N_REFINED]
    refined = benchmark.pedantic(refine, args=(FILM, measured), rounds=3)
    add_rates(benchmark, films_per_second=N_REFINED)
    if benchmark.stats is not None:
        benchmark.extra_info["seconds_per_film"] = benchmark.stats.stats.median / N_REFINED
    benchmark.extra_info["solved_share"] = float(refined.solved.mean())


# Training


def test_bfloat16_against_float32_at_the_published_width(benchmark, films):
    """Steps of the published U-Net in both formats, turn by turn."""
    rods = [films[name][:BATCH_SIZE] for name in ("log_intensity", "field_real")]
    x, y = (((values - values.mean()) / values.std()).reshape(BATCH_SIZE, -1, 1) for values in rods)
    models, times = {}, {"float32": [], "mixed_bfloat16": []}
    for policy in times:
        with precision(policy):
            models[policy] = faithful_unet(PUBLISHED_WIDTHS)
        models[policy].compile(optimizer="adam", loss="mae", jit_compile=is_compiled())

    def turn():
        for policy, model in models.items():
            begin = perf_counter()
            model.train_on_batch(x, y)
            times[policy].append(perf_counter() - begin)

    benchmark.pedantic(turn, rounds=4, warmup_rounds=1)
    seconds = {policy: median(taken[1:]) for policy, taken in times.items()}
    benchmark.extra_info |= {
        "step_seconds_float32": seconds["float32"],
        "step_seconds_bfloat16": seconds["mixed_bfloat16"],
        "speedup_over_float32": seconds["float32"] / seconds["mixed_bfloat16"],
    }
