"""How well strain and rotation are found, at grains that were trained on and at others.

``trained/`` is the scan that the networks saw, as the paper judges them; ``new_noise/`` the same
grains counted anew; ``unseen/`` other grains of other strains; ``smooth/`` strain and rotation that
change smoothly. ``mae`` counts all positions, as published; ``rms`` only those within a grain.
``limit/`` is the precision that no unbiased reading of one pattern can pass; ``neighbours/`` is
what our variant makes of the same patterns when it looks at those around each, which may pass it.

``artefacts/`` and ``distortion/`` are the published grains as a worse microscope records them, read
against their own reference.

Of the published scan there is ``trained/`` alone, and neither a limit nor a true base, since how
its patterns were made is not known.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from repro.evaluation.metrics import Evaluation, Metric, higher, in_stages, lower, neither
from repro.evaluation.resampling import Resampled, Resampling
from repro.imaging.geometry import resized
from repro.studies.strain_ae.baselines import BASELINES, Setting
from repro.studies.strain_ae.boundaries import crystals, distances, shares_of_step, width
from repro.studies.strain_ae.codes import LinearReading, grain_information
from repro.studies.strain_ae.disturbed import ARTEFACTS, DISTORTION
from repro.studies.strain_ae.fit import WITHIN, relative
from repro.studies.strain_ae.lattice import COMPONENTS, deformation
from repro.studies.strain_ae.limit import standard_deviations
from repro.studies.strain_ae.masks import RING_2, ring
from repro.studies.strain_ae.model import base_of, choosing_network, code_network
from repro.studies.strain_ae.recipe import CLASSES, ONE_LOSS, PLAIN, STRAIN, TEMPLATES
from repro.studies.strain_ae.scans import REFERENCE_ROTATION
from repro.studies.strain_ae.scoring import NEW_NOISE, TRAINED, Bench, ScanErrors, middle_of
from repro.studies.strain_ae.simulate import NOISE_FREE
from repro.studies.strain_ae.strain import Found, stretches
from repro.study import Trained

Metrics = dict[str, Metric]
Arrays = dict[str, np.ndarray]
Answers = tuple[Metrics, Arrays]

UNITS = dict(zip(COMPONENTS, ("1", "1", "1", "degrees"), strict=True))
OUTLIER = 5.0  # errors beyond this many times the limit
BASE_RING = (50.0, 85.0)  # where bases are compared: rings 2 and 3 [published pixels]
COMPARED = ("mae", "rms", "displacement")  # errors of the baselines too
OF_NEIGHBOURS = ("rms", "displacement", "slope", "coverage")
LOST = 1.0  # a disc that errors shift further is not found at all [published pixels]
SHOWN = 64  # most positions along a side that are kept for the figures


def evaluate(trained: Trained, progress: Callable[[int, int], None]) -> Evaluation:
    """Measure strain and rotation on every scan of the test split, and on the trained one."""
    bench = Bench(trained)
    return in_stages(stages_of(bench), bench, progress).defined()


def stages_of(bench: Bench) -> list[Callable[[Bench], Answers]]:
    """Return what is measured of a run, stage by stage."""
    networks = bench.trained.tasks
    if CLASSES in networks:
        return [class_stage]
    stages = [errors_stage, slope_stage]
    if bench.knows_patterns:
        stages += [limit_stage, robustness_stage, boundary_stage]
    stages += [baseline_stage]
    stages += [interval_stage, neighbour_stage] if TEMPLATES in networks else [base_stage]
    return [*stages, one_loss_stage, plain_stage] if PLAIN in networks else stages


# ---- errors


def errors_stage(bench: Bench) -> Answers:
    """Measure errors of every scan: of all positions, and of those within a grain."""
    metrics, arrays = {}, {}
    for scan in bench.scans.values():
        metrics |= errors_of(scan)
        arrays |= maps_of(scan)
    return metrics, arrays


def errors_of(scan: ScanErrors) -> Metrics:
    """Return MAE over all positions and rms, bias and spread within grains, of each component."""
    everywhere = np.ones(len(scan.errors), bool)
    at_all, inside = scan.resampling(everywhere), scan.resampling(scan.within)
    metrics: Metrics = {}
    for place, component in enumerate(COMPONENTS):
        errors, unit = scan.errors[:, place], UNITS[component]
        within = errors[scan.within]
        bias, spread = bias_and_spread(within, scan.unit[scan.within])
        about = f"of {component} found in the scan {scan.name}"
        metrics |= {
            f"{scan.name}/mae/{component}": lower(
                at_all.mean(np.abs(errors)), f"mean error {about}, all positions", unit
            ),
            f"{scan.name}/rms/{component}": lower(
                root(inside.mean(within**2)),
                f"root mean square error {about}, positions within a grain",
                unit,
            ),
            f"{scan.name}/bias/{component}": lower(
                bias, f"root mean square over grains of the mean error {about}", unit
            ),
            f"{scan.name}/spread/{component}": lower(
                spread, f"standard deviation about the grain's mean {about}", unit
            ),
        }
    metrics[f"{scan.name}/displacement"] = lower(
        shifts(inside, scan.errors[scan.within]),
        f"root mean square shift of the second ring's discs by the errors, scan {scan.name}, "
        "positions within a grain",
        "pixels",
    )
    return metrics


def norms(errors: np.ndarray) -> np.ndarray:
    """Return the squared Frobenius norm of the error of the deformation, ``(n,)``."""
    xx, yy, xy, degrees = errors.T
    turn = np.deg2rad(degrees)
    return xx**2 + yy**2 + (xy - turn) ** 2 + (xy + turn) ** 2


def bias_and_spread(errors: np.ndarray, grain: np.ndarray) -> tuple[float, float]:
    """Return the rms over grains of their mean error, and the rms departure from that mean."""
    _, place, count = np.unique(grain, return_inverse=True, return_counts=True)
    means = np.bincount(place, errors) / count
    return float(np.sqrt(np.mean(means**2))), float(np.sqrt(np.mean((errors - means[place]) ** 2)))


def root(squares: Resampled) -> Resampled:
    """Return the root of a mean square, resample by resample."""
    return replace(squares, values=np.sqrt(squares.values))


def maps_of(scan: ScanErrors) -> Arrays:
    """Return the maps that the figures show, ``(rows, columns, 4)``."""
    every = max(1, scan.n_columns // SHOWN)
    shape = (-1, scan.n_columns, len(COMPONENTS))
    return {
        f"{scan.name}_{kind}": values.reshape(shape)[::every, ::every].astype(np.float32)
        for kind, values in (("true", scan.true), ("found", scan.found), ("error", scan.errors))
    } | {f"{scan.name}_within": scan.within.reshape(-1, scan.n_columns)[::every, ::every]}


# ---- does it measure strain, or recall grains?


def slope_stage(bench: Bench) -> Answers:
    """Fit lines to what was found against what is true: shrinkage shows as a slope below 1."""
    metrics: Metrics = {}
    for scan in bench.scans.values():
        metrics |= slopes_of(scan)
    return metrics, {}


def slopes_of(scan: ScanErrors) -> Metrics:
    """Return the slope of each component."""
    drawn, metrics = scan.resampling(scan.within), {}
    for place, component in enumerate(COMPONENTS):
        true = scan.true[scan.within, place]
        found = true + scan.errors[scan.within, place]
        metrics[f"{scan.name}/slope/{component}"] = neither(
            slope(drawn, true, found),
            f"slope of {component} found on the true one, scan {scan.name}, within grains",
        )
    return metrics


def slope(drawn: Resampling, true: np.ndarray, found: np.ndarray) -> Resampled:
    """Return the slope of the line through what was found against what is true."""
    sums = drawn.sums(np.stack([np.ones(len(true)), true, found, true * found, true**2], axis=1))
    n, x, y, xy, xx = sums.T
    with np.errstate(invalid="ignore", divide="ignore"):
        return replace(drawn.mean(true), values=(n * xy - x * y) / (n * xx - x * x))


# ---- the limit


def limit_stage(bench: Bench) -> Answers:
    """Hold the errors against the Cramér-Rao bound of one pattern."""
    if bench.simulation.noise == NOISE_FREE:
        return {}, {}
    metrics: Metrics = {}
    for name, scan in bench.scans.items():
        true = scan.true[scan.within]
        distinct, place = np.unique(true, axis=0, return_inverse=True)
        distinct, place = thinned(distinct, place)
        rotation = np.deg2rad(distinct[:, 3]) + REFERENCE_ROTATION
        limits = standard_deviations(bench.simulation, distinct[:, :3], rotation)
        limits = limits * np.array([1, 1, 1, np.rad2deg(1)])
        bound = np.sqrt(np.mean(limits[place] ** 2, axis=0))
        inside = scan.resampling(scan.within)
        for i, component in enumerate(COMPONENTS):
            errors = scan.errors[scan.within, i]
            outliers = np.abs(errors) > OUTLIER * bound[i]
            ratio = root(inside.mean(errors**2))
            metrics |= {
                f"limit/{name}/{component}": neither(
                    bound[i],
                    f"Cramér-Rao bound of {component} of one pattern, scan {name}",
                    UNITS[component],
                ),
                f"{name}/over_limit/{component}": lower(
                    replace(ratio, values=ratio.values / bound[i]),
                    f"root mean square error of {component} over the limit, scan {name}",
                ),
                f"{name}/outliers/{component}": lower(
                    inside.mean(outliers),
                    f"share of positions with {component} off by five times the limit, scan {name}",
                ),
            }
    return metrics, {}


def thinned(distinct: np.ndarray, place: np.ndarray, most: int = 24):
    """Return at most so many of the distinct rows, and the places of positions among them."""
    every = max(1, -(-len(distinct) // most))
    return distinct[::every], np.minimum(place.ravel() // every, len(distinct[::every]) - 1)


# ---- other means, and what ours says of itself


def baseline_stage(bench: Bench) -> Answers:
    """Read the same patterns by classical means, which learn nothing."""
    setting = Setting.of(bench.simulation.detector)
    metrics: Metrics = {}
    for baseline, read in BASELINES.items():
        read_as = {name: Found(*bench.read_by(read, name, setting)) for name in bench.rows}
        zero = middle_of(read_as[TRAINED].parameters[bench.in_reference])
        for name in list(bench.rows)[1:] or [TRAINED]:
            found = relative(read_as[name].parameters, zero)
            errors = errors_of(bench.scan(name, Found(found[:, :3], found[:, 3])))
            metrics |= {
                f"{baseline}/{metric}": replace(m, definition=f"{m.definition}, by {baseline}")
                for metric, m in errors.items()
                if metric.split("/")[1] in COMPARED
            }
        if bench.knows_patterns:
            patterns = bench.across.reshape(-1, *bench.across.shape[2:]).astype(np.float32)
            found = relative(Found(*read(patterns, setting)).parameters, zero)[:, :3]
            metrics[f"{baseline}/step_width"] = width_of_steps(bench, found, f"by {baseline}")
    return metrics, {}


def boundary_stage(bench: Bench) -> Answers:
    """Read patterns across straight boundaries of two crystals, which sharp maps show as steps."""
    return {"step_width": width_of_steps(bench, bench.strain_across(), "by this variant")}, {}


def width_of_steps(bench: Bench, strain: np.ndarray, by: str) -> Metric:
    """Return the width of steps in strain found across boundaries, ``(n * n_columns, 3)``."""
    n = len(bench.across)
    places, (true, _) = distances(bench.positions.n_columns), crystals(n, bench.trained.seed)
    drawn = Resampling("boundary", np.arange(n))
    shares = shares_of_step(strain.reshape(n, -1, 3), true)
    profiles = drawn.sums(shares) / drawn.sums(np.ones(n))[:, None]
    widths = np.array([width(places, profile) for profile in profiles])
    about = f"distance over which strain goes from a tenth to nine tenths of a step, {by}"
    return lower(replace(drawn.mean(shares[:, 0]), values=widths), about, "scan pixels")


def robustness_stage(bench: Bench) -> Answers:
    """Read the published grains with faults of the detector, and with a beam off its place.

    Not without noise, where there is no error to grow.
    """
    if bench.simulation.noise == NOISE_FREE:
        return {}, {}
    plain = bench.read_again()
    inside = plain.resampling(plain.within)
    grains = Resampling("grain", np.unique(plain.unit[plain.within]), plain.split)
    before = shifts(inside, plain.errors[plain.within])
    bias_before = shifts(grains, means_of_grains(plain))
    metrics: Metrics = {}
    for kind, what in {
        ARTEFACTS: "hot pixels, dead rows and uneven discs",
        DISTORTION: "the beam half a pixel off and a detector with 1 % of ellipticity",
    }.items():
        read = bench.read_again(kind)
        after = shifts(inside, read.errors[read.within])
        bias = shifts(grains, means_of_grains(read))
        about = f"shift of the second ring's discs by the errors with {what}"
        metrics |= {
            f"{kind}/displacement": lower(after, f"root mean square {about}", "pixels"),
            f"{kind}/displacement_ratio": lower(
                grown(before, after),
                f"{about}, over that without, which counts as {LOST:g} at most",
            ),
            f"{kind}/bias_ratio": lower(
                grown(bias_before, bias),
                f"rms over grains of the mean {about}, over that without, "
                f"which counts as {LOST:g} at most",
            ),
        }
    return metrics, {}


def grown(before: Resampled, after: Resampled) -> Resampled:
    """Return how many times larger a shift became; who lost the discs before is not robust."""
    return replace(after, values=after.values / np.minimum(before.values, LOST))


def shifts(drawn: Resampling, errors: np.ndarray) -> Resampled:
    """Return the rms shift of the second ring's discs by errors ``(n, 4)`` [published pixels]."""
    return root(drawn.mean(RING_2**2 * norms(errors) / 2))


def means_of_grains(scan: ScanErrors) -> np.ndarray:
    """Return the mean errors of every grain, of positions within it, ``(n_grains, 4)``."""
    errors, unit = scan.errors[scan.within], scan.unit[scan.within]
    return np.stack([errors[unit == grain].mean(axis=0) for grain in np.unique(unit)])


def interval_stage(bench: Bench) -> Answers:
    """Count how often the stated 90 % intervals hold the truth."""
    metrics: Metrics = {}
    for scan in bench.scans.values():
        metrics |= coverage_of(scan)
    return metrics, {}


def coverage_of(scan: ScanErrors) -> Metrics:
    """Return how often the intervals of each component hold the truth."""
    inside = scan.resampling(scan.within)
    reach = WITHIN * scan.reading.deviations * [1, 1, 1, np.rad2deg(1)]
    holds = np.abs(scan.errors) <= reach
    return {
        f"{scan.name}/coverage/{component}": neither(
            inside.mean(holds[scan.within, place]),
            f"share of positions whose 90 % interval holds {component}, scan {scan.name}",
        )
        for place, component in enumerate(COMPONENTS)
    }


def neighbour_stage(bench: Bench) -> Answers:
    """Measure what is found when each position is averaged with its neighbours."""
    metrics: Metrics = {}
    for scan in map(bench.averaged, bench.scans.values()):
        of_scan = errors_of(scan) | slopes_of(scan) | coverage_of(scan)
        metrics |= {
            f"neighbours/{name}": replace(m, definition=f"{m.definition}, with neighbours")
            for name, m in of_scan.items()
            if name.split("/")[1] in OF_NEIGHBOURS
        }
    return metrics, {}


# ---- with less than the published network: one loss, no transformer


def one_loss_stage(bench: Bench) -> Answers:
    """Measure the same two networks when only the base transformed back was compared."""
    metrics: Metrics = {}
    for scan in bench.of_networks(ONE_LOSS).scans.values():
        metrics |= compared(scan, "one_loss", "by one loss")
    return metrics, {}


def plain_stage(bench: Bench) -> Answers:
    """Read strain from the codes of a plain autoencoder, by a line through half of the truth."""
    metrics, seen = {}, bench.scans[TRAINED]
    codes = {name: bench.answers(code_network, name, TRAINED) for name in (PLAIN, STRAIN)}
    about = "adjusted mutual information of clusters of codes with grains that were trained on"
    for name, prefix in ((PLAIN, "plain/"), (STRAIN, "")):
        of_grains = codes[name][seen.within], seen.unit[seen.within]
        known = grain_information(*of_grains, bench.trained.seed)
        metrics[f"{prefix}code/grain_information"] = neither(known, about)
    read = LinearReading(codes[PLAIN][::2], bench.truth(TRAINED)[::2])
    for name in list(bench.rows)[1:]:
        found = read(bench.answers(code_network, PLAIN, name))
        scan = bench.scan(name, Found(found[:, :3], found[:, 3]))
        metrics |= compared(scan, "plain", "read from codes of a plain autoencoder")
    return metrics, {}


def compared(scan: ScanErrors, prefix: str, by: str) -> Metrics:
    """Return the errors and slopes of a scan that are held against those of the networks."""
    return {
        f"{prefix}/{name}": replace(m, definition=f"{m.definition}, {by}")
        for name, m in (errors_of(scan) | slopes_of(scan)).items()
        if name.split("/")[1] in (*COMPARED, "slope")
    }


# ---- two bases


def class_stage(bench: Bench) -> Answers:
    """Count how often the two bases tell crystal from hole, patterns of one of them alone."""
    trained, new = (Choices.of(bench, name) for name in (TRAINED, NEW_NOISE))
    # Which of the bases stands for holes is told by the scan that was trained on.
    of_hole = int((trained.base == trained.is_hole).mean() >= 0.5)
    right = (new.base == of_hole) == new.is_hole
    drawn = Resampling("grain", new.grain)
    recalls = [drawn.sums(right & c) / drawn.sums(c) for c in (new.is_hole, ~new.is_hole)]
    found = replace(drawn.mean(right), values=np.mean(recalls, axis=0), is_share=False)
    about = "share of patterns whose base tells crystal from hole, mean over both"
    return {"classes/balanced_accuracy": higher(found, about)}, {}


@dataclass(frozen=True)
class Choices:
    """Which base the patterns of a scan choose, those of one grain or one hole.

    Parameters
    ----------
    base : numpy.ndarray
        ``(n,)`` int.
    grain : numpy.ndarray
        ``(n,)`` int, below 0 over a hole.
    """

    base: np.ndarray
    grain: np.ndarray

    @property
    def is_hole(self) -> np.ndarray:
        """Whether there is no crystal, ``(n,)`` bool."""
        return self.grain < 0

    @classmethod
    def of(cls, bench: Bench, name: str) -> Choices:
        """Return the choices of a scan."""
        positions = bench.positions.of_rows(bench.rows[name])
        grain, share = (bench.positions.of(v, positions) for v in ("grain", "share"))
        is_pure = (share == 0) | (share == 1)
        base = bench.answers(choosing_network, CLASSES, name).argmax(axis=1)
        return cls(base[is_pure], grain[is_pure])


# ---- the base


def base_stage(bench: Bench) -> Answers:
    """Hold the learned base against the pattern that it should be, without noise."""
    base = base_of(bench.network)
    rows = bench.rows[TRAINED]
    mean = bench.dataset.array("patterns")[rows].mean(axis=(0, 1)) / bench.positions.unit
    images, metrics = {"base_learned": base, "base_mean": mean}, {}
    if bench.knows_patterns:
        images["base_true"] = true = true_base(bench)
        where = ring(len(base), *BASE_RING) > 0
        alike = float(np.corrcoef(base[where], true[where])[0, 1])
        about = "correlation of the learned base with the pattern it should be, rings 2 and 3"
        metrics["base/correlation"] = higher(alike, about)
    size = min(len(base), 100)
    return metrics, {name: resized(image, size, size) for name, image in images.items()}


def true_base(bench: Bench) -> np.ndarray:
    """Return the pattern, without noise, of which the reference is the transformed copy."""
    reference = bench.parameters[TRAINED][bench.in_reference]
    middle = np.median(reference, axis=0)[None]
    angle = middle[0, 3]
    cosine, sine = np.cos(angle), np.sin(angle)
    maps = stretches(middle)[0] @ np.array([[cosine, -sine], [sine, cosine]])
    back = np.linalg.inv(maps)[::-1, ::-1]  # from (x, y) to (row, column)
    reference = deformation(np.zeros((1, 3)), np.array([REFERENCE_ROTATION]))[0]
    expected = bench.simulation.expected((back @ reference)[None, None], np.ones((1, 1)))[0]
    return expected / bench.positions.unit
