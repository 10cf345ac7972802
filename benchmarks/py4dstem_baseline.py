"""What py4DSTEM makes of patterns of `strain_ae`, its settings tuned where the truth is known.

Stand-alone, for py4DSTEM is under the GPL: nothing in the package imports it, and nothing here is
imported by the package. It writes how wide the errors are, level by level, beside the published and
beside those of our variant `improved` on the same patterns, pattern by pattern, and how fast both
are on one thread:

    python benchmarks/py4dstem_baseline.py --levels 5,25,60 --out FILE.json

The detector is the published one of 256 x 256 pixels; patterns are those that one grain fills. Ours
learns discs and background, without labels, from other patterns of the scan; both know the lattice.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import types
import warnings
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path
from time import process_time

import numpy as np
from threadpoolctl import threadpool_limits

from repro.seeds import generator
from repro.studies.strain_ae.apply import templates_from
from repro.studies.strain_ae.baselines import Setting
from repro.studies.strain_ae.fit import fisher_scoring
from repro.studies.strain_ae.lattice import (
    COMPONENTS,
    decomposed,
    deformation,
    sixfold,
    spots,
    turn,
)
from repro.studies.strain_ae.pattern import start
from repro.studies.strain_ae.scans import beam_at
from repro.studies.strain_ae.simulate import CALIBRATION, Simulation
from repro.studies.strain_ae.templates import initial_geometry

SIMULATION = {
    "n_rows": 256,
    "n_columns": 256,
    "scans": ["published"],
    "probe_radius": 2.0,
    "dose": 1e5,
    "n_pixels": 256,
    "pixel_size": 1.0,
    "beam_offset": 0.2,
    "disc_radius": 3.72,
    "disc_edge": 0.15,
    "first_ring": 37.9,
}
N_PATTERNS, N_TUNED, N_LEARNED = 150, 60, 1024
N_RESAMPLES = 2000  # of the patterns
SEED, SEED_OF_TUNING, SEED_OF_LEARNING = 0, 1, 2
NUMBER_OF_TUNING = 3  # of the polycrystal that settings are tuned on
# Core widths of py4DSTEM in the published histograms, digitised: fact sheet, 5.4 [1, 1, 1, deg].
PUBLISHED = {
    5: (0.96e-3, 1.03e-3, 0.71e-3, 0.040),
    25: (1.20e-3, 1.28e-3, 0.91e-3, 0.050),
    60: (2.70e-3, 2.77e-3, 1.99e-3, 0.113),
}
VOLTAGE, K_MAX = 80e3, 1.4  # [V], [Å⁻¹]
PROBE_WIDTH = 0.7  # of the synthetic probe's edge, as in the tutorial [pixels]
KERNEL_RADII = (1.2, 4.0)  # of the ring about it, as in the tutorial [radii of the disc]
ANGLE_STEP = 1.0  # coarser ones, as the tutorial's 4, make errors larger [deg]
MIN_SPACING, EDGE = 12, 4  # as in the tutorial [pixels]
TOLERANCES = (5.0, 3.0, 2.0)  # of discs from the lattice, fit after fit [pixels]


@dataclass(frozen=True)
class Settings:
    """What is tuned.

    Parameters
    ----------
    threshold : float
        ``minAbsoluteIntensity`` of discs.
    corr_power : float
        ``corrPower``: 1 is a cross-correlation, 0 a phase correlation.
    sigma : float
        ``sigma_cc``, which smooths the correlation [pixels].
    match_radius : float
        ``corr_kernel_size``: how far discs may be from those of the crystal [Å⁻¹].
    weighted : bool
        ``intensity_weighting`` of ``calculate_strain``: whether bright discs count more.
    weight_power : float
        Power of a disc's intensity that it counts with in the plain lattice fit.
    """

    threshold: float = 0.12
    corr_power: float = 1.0
    sigma: float = 0.0
    match_radius: float = 0.03
    weighted: bool = True
    weight_power: float = 1.0


CHOICES = {
    "threshold": (0.04, 0.06, 0.08, 0.12, 0.16, 0.2, 0.25, 0.3),
    "corr_power": (1.0, 0.9),
    "sigma": (0.0, 0.5, 1.0),
    "match_radius": (0.08, 0.04, 0.03),
    "weighted": (True, False),
    "weight_power": (0.0, 0.5, 1.0, 1.5, 2.0),
}
FAINTEST = min(CHOICES["threshold"])  # the lists of all higher thresholds are cut from it
TUNED = {  # one setting after the other
    "own": ("sigma", "threshold", "corr_power", "match_radius", "weighted", "threshold"),
    "fit": ("sigma", "threshold", "corr_power", "weight_power", "threshold"),
}


@cache
def py4dstem():
    """Return py4DSTEM, with the names that NumPy 2 dropped where it looks for them."""
    np.sctypeDict["float_"] = np.float64
    import py4DSTEM
    from py4DSTEM.process.diffraction import crystal_ACOM

    older = types.ModuleType("numpy")
    vars(older).update(vars(np), integer=np.int64)
    crystal_ACOM.np = older
    return py4DSTEM


@cache
def crystal(first_ring: float, match_radius: float):
    """Return WS2 whose first ring is where it is seen, ready to match.

    Parameters
    ----------
    first_ring : float
        [Å⁻¹].
    match_radius : float
        As in `Settings`.
    """
    side = 2 / np.sqrt(3) / first_ring
    sulphur = 0.13  # above and below the tungsten, of a cell of 12 Å
    places = [[1 / 3, 2 / 3, 0.5], [2 / 3, 1 / 3, 0.5 - sulphur], [2 / 3, 1 / 3, 0.5 + sulphur]]
    cell = [side, side, 12, 90, 90, 120]
    made = py4dstem().process.diffraction.Crystal(places, [74, 16, 16], cell)
    made.calculate_structure_factors(K_MAX)
    made.orientation_plan(
        fiber_axis=[0, 0, 1],
        fiber_angles=[0, 360],
        zone_axis_range="fiber",
        angle_step_zone_axis=1.0,
        angle_step_in_plane=ANGLE_STEP,
        accel_voltage=VOLTAGE,
        corr_kernel_size=match_radius,
        progress_bar=False,
    )
    return made


def detected(patterns: np.ndarray, setting: Setting, settings: Settings):
    """Return the discs that py4DSTEM finds, its ``BraggVectors``, calibrated.

    Parameters
    ----------
    patterns : numpy.ndarray
        ``(n, n_pixels, n_pixels)`` [electrons].
    setting, settings
        What is known of the detector, and what is tuned.
    """
    program = py4dstem()
    shape = patterns.shape[1:]
    radius = setting.radius
    with np.errstate(over="ignore"):  # far from the probe's edge
        probe = program.Probe.generate_synthetic_probe(radius, PROBE_WIDTH, shape)
    middle = tuple(n / 2 for n in shape)
    kernel = probe.get_kernel("sigmoid", middle, radii=[radius * r for r in KERNEL_RADII])
    cube = program.DataCube(patterns[:, None])
    with contextlib.redirect_stderr(io.StringIO()):
        found = program.braggvectors.diskdetection.find_Bragg_disks(
            cube,
            kernel,
            corrPower=settings.corr_power,
            sigma_cc=settings.sigma,
            subpixel="poly",
            minAbsoluteIntensity=settings.threshold,
            minRelativeIntensity=0,
            minPeakSpacing=MIN_SPACING / setting.pixel_size,
            edgeBoundary=EDGE,
            maxNumPeaks=1000,
        )
    found.calibration.set_origin((setting.centre_row, setting.centre_column))
    found.calibration.set_Q_pixel_size(CALIBRATION * setting.pixel_size)
    found.calibration.set_Q_pixel_units("A^-1")
    found.setcal()
    return found


def above(vectors, threshold: float):
    """Return the discs of ``BraggVectors`` that are no fainter than a threshold."""
    kept = vectors.copy()
    for number in range(kept.shape[0]):
        discs = kept._v_uncal[number, 0]
        discs.remove(discs.data["intensity"] < threshold)
    return kept


def own_strain(vectors, setting: Setting, settings: Settings) -> tuple[np.ndarray, np.ndarray]:
    """Return strain ``(n, 3)`` [1] and rotation ``(n,)`` [rad] as py4DSTEM computes them."""
    made = crystal(setting.first_ring * CALIBRATION, settings.match_radius)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*not .* calibrated")
        turned = made.match_orientations(vectors, progress_bar=False)
        found = made.calculate_strain(
            vectors,
            turned,
            intensity_weighting=settings.weighted,
            rotation_range=np.pi / 3,
            progress_bar=False,
        )
    e_xx, e_yy, e_xy, theta, _ = found.data[:, :, 0]
    # py4DSTEM turns the other way, and its crystal starts with a spot off the row axis by π/6
    return np.stack([e_xx, e_yy, e_xy], axis=1), sixfold(-theta - np.pi / 6)


def lattice_through(vectors, setting: Setting, settings: Settings) -> tuple[np.ndarray, np.ndarray]:
    """Return strain ``(n, 3)`` [1] and rotation ``(n,)`` [rad] of a lattice fit to the discs."""
    places, intensities = padded(vectors, setting)
    lattice, *_ = spots(setting.first_ring / setting.pixel_size)
    deformations = turn(turned_by(places, intensities, setting))
    for tolerance in TOLERANCES:
        expected = np.einsum("nij,sj->nsi", deformations, lattice)
        apart = np.linalg.norm(places[:, :, None] - expected[:, None], axis=3)
        nearest = apart.argmin(axis=2)
        near = apart.min(axis=2) < tolerance / setting.pixel_size
        weights = near * intensities**settings.weight_power
        met = lattice[nearest]
        # where nothing is near, the lattice stays as it is
        cross = np.einsum("nk,nki,nkj->nij", weights, places, met) + 1e-6 * deformations
        square = np.einsum("nk,nki,nkj->nij", weights, met, met) + 1e-6 * np.eye(2)
        deformations = cross @ np.linalg.inv(square)
    strain, rotation = decomposed(deformations)
    return strain, sixfold(rotation)


def padded(vectors, setting: Setting) -> tuple[np.ndarray, np.ndarray]:
    """Return places from the beam ``(n, k, 2)`` [pixels] and intensities ``(n, k)`` of discs.

    The direct beam is left out, and 0 stands where a pattern has fewer discs than others.
    """
    lists = [vectors._v_uncal[number, 0].data for number in range(vectors.shape[0])]
    places = np.zeros((len(lists), max(map(len, lists)), 2))
    intensities = np.zeros(places.shape[:2])
    for number, discs in enumerate(lists):
        found = np.stack([discs["qx"], discs["qy"]], axis=1) - setting.centre
        places[number, : len(discs)] = found
        away = np.linalg.norm(found, axis=1) > setting.first_ring / setting.pixel_size / 2
        intensities[number, : len(discs)] = discs["intensity"] * away
    return places, intensities


def turned_by(places: np.ndarray, intensities: np.ndarray, setting: Setting) -> np.ndarray:
    """Return rotations of the lattice by the discs of its first three rings, ``(n,)`` [rad]."""
    radius = np.linalg.norm(places, axis=2) * setting.pixel_size / setting.first_ring
    angle = np.arctan2(places[..., 1], places[..., 0])
    total = 0
    for ring, sign in ((1, 1), (3, -1), (4, 1)):  # the second is turned by half of a sixth
        on_ring = np.abs(radius - np.sqrt(ring)) < TOLERANCES[0] / setting.first_ring
        total = total + sign * (on_ring * intensities * np.exp(6j * angle)).sum(axis=1)
    return np.angle(total) / 6


READ = {"own": own_strain, "fit": lattice_through}


def simulated(kind: str, level: int, seed: int, number: int, n: int):
    """Return patterns that one grain fills, their strain and rotation, and the detector's setting.

    Parameters
    ----------
    kind, seed, number
        Of the scan; see `repro.studies.strain_ae.scans.beam_at`.
    level : int
        Noise [%].
    n : int
        Patterns.
    """
    simulation = Simulation(**SIMULATION, noise=level / 100)
    draws = generator(seed, "py4dstem", kind, str(level))
    positions = simulation.n_rows * draws.random((3 * n, 2))
    beam = beam_at(kind, positions, simulation.probe_radius, seed, number)
    share, strain, rotation = beam.largest
    inside = np.flatnonzero(share == 1)[:n]
    strain, rotation = strain[inside], rotation[inside]
    deformations = deformation(strain, rotation)[:, None]
    expected = simulation.expected(deformations, np.ones(deformations.shape[:2]))
    counts = draws.poisson(expected) if level else expected
    return counts.astype(np.float32), strain, rotation, Setting.of(simulation.detector)


def errors(strain, rotation, true_strain, true_rotation) -> np.ndarray:
    """Return errors of the four components, ``(n, 4)`` [1, 1, 1, deg]."""
    turned = np.rad2deg(sixfold(rotation - true_rotation))
    return np.concatenate([strain - true_strain, turned[:, None]], axis=1)


def tuned(level: int) -> dict[str, Settings]:
    """Return the settings that do best on a polycrystal with its truth, by what reads the strain.

    What counts is the product of the four rms errors. ``minRelativeIntensity`` is relative to the
    direct beam, which all patterns have: it would do the same as the threshold.
    """
    patterns, *truth, setting = simulated(
        "polycrystal", level, SEED_OF_TUNING, NUMBER_OF_TUNING, N_TUNED
    )

    @cache  # detection takes longest
    def faint(corr_power, sigma):
        found = Settings(threshold=FAINTEST, corr_power=corr_power, sigma=sigma)
        return detected(patterns, setting, found)

    def score(reader, settings):
        vectors = above(faint(settings.corr_power, settings.sigma), settings.threshold)
        off = errors(*READ[reader](vectors, setting, settings), *truth)
        return np.log(np.square(off).mean(axis=0)).mean()

    best = {}
    for reader, names in TUNED.items():
        settings = Settings()
        for name in names:
            tried = [replace(settings, **{name: value}) for value in CHOICES[name]]
            settings = min(tried, key=partial(score, reader))
        best[reader] = settings
    return best


def measured(level: int) -> dict:
    """Return how wide the errors are at a noise level, how fast they were read, and with what."""
    patterns, *truth, setting = simulated("published", level, SEED, 0, N_PATTERNS)
    result = {}
    result["improved"], our_errors = ours(level, patterns, truth, setting)
    for reader, settings in tuned(level).items():
        begin = process_time()  # of one thread, whatever else runs
        vectors = detected(patterns, setting, settings)
        found = READ[reader](vectors, setting, settings)
        seconds = process_time() - begin
        off = errors(*found, *truth)
        result[reader] = {
            **spread(off),
            "rms_over_improved": ratios(off, our_errors),
            "published_core": dict(zip(COMPONENTS, PUBLISHED.get(level, ()), strict=False)),
            "patterns_per_second": len(patterns) / seconds,
            "settings": asdict(settings),
        }
    return result


def ours(level: int, patterns, truth, setting: Setting) -> tuple[dict, np.ndarray]:
    """Return the same of our variant `improved`, and its errors ``(n, 4)``."""
    others, *_ = simulated("published", level, SEED_OF_LEARNING, 0, N_LEARNED)
    geometry = replace(initial_geometry(others), first_ring=setting.first_ring)
    begin = process_time()
    templates = templates_from(geometry, others, SEED)
    fisher_scoring(patterns[:1], templates, start(patterns[:1], templates))  # makes its tables
    learning, begin = process_time() - begin, process_time()
    found = fisher_scoring(patterns, templates, start(patterns, templates)).parameters
    seconds = process_time() - begin
    off = errors(found[:, :3], found[:, 3], *truth)
    facts = {"patterns_per_second": len(patterns) / seconds, "seconds_of_learning": learning}
    return {**spread(off), **facts}, off


def ratios(off: np.ndarray, our_off: np.ndarray) -> dict[str, dict[str, float]]:
    """Return rms errors over ours with the 95 % interval over patterns, drawn in pairs."""
    draws = generator(SEED, "ratios").integers(len(off), size=(N_RESAMPLES, len(off)))
    squares = [np.square(errors)[draws].mean(axis=1) for errors in (off, our_off)]
    low, high = np.quantile(np.sqrt(squares[0] / squares[1]), [0.025, 0.975], axis=0)
    value = np.sqrt(np.square(off).mean(axis=0) / np.square(our_off).mean(axis=0))
    return {
        component: {"ratio": float(value[i]), "low": float(low[i]), "high": float(high[i])}
        for i, component in enumerate(COMPONENTS)
    }


def spread(off: np.ndarray) -> dict[str, dict[str, float]]:
    """Return rms, mean modulus and core width, as of a normal law, of errors ``(n, 4)``."""
    core = 1.4826 * np.median(np.abs(off - np.median(off, axis=0)), axis=0)
    widths = {
        "rms": np.sqrt(np.square(off).mean(axis=0)),
        "mae": np.abs(off).mean(axis=0),
        "core": core,
    }
    return {name: dict(zip(COMPONENTS, map(float, of), strict=True)) for name, of in widths.items()}


def main() -> None:
    """Measure the levels that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--levels", default="5,25,60", help="noise [%%], by commas")
    parser.add_argument("--out", type=Path, required=True, help="JSON to write")
    options = parser.parse_args()
    with threadpool_limits(1):
        result = {level: measured(level) for level in map(int, options.levels.split(","))}
    options.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
