"""Strain and rotation of a user's own 4D-STEM scan, with deviations, as maps."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from repro.datasets.batches import Batches
from repro.display import Progress
from repro.errors import ReproError
from repro.reporting.figures import PAGE_WIDTH, house_style, new_figure
from repro.reporting.panels import DIFFERENCES, INTENSITIES, colours_below, image
from repro.seeds import integer_seed
from repro.side_by_side import side_by_side
from repro.studies.strain_ae.figures import LABELS, SHOWN_AS
from repro.studies.strain_ae.fit import Fit, crystal_strength, fisher_scoring, relative
from repro.studies.strain_ae.lattice import COMPONENTS, SIXTH
from repro.studies.strain_ae.neighbours import with_neighbours
from repro.studies.strain_ae.pattern import Templates, start
from repro.studies.strain_ae.scan_files import ScanFile, open_scan
from repro.studies.strain_ae.strain import circular_mean
from repro.studies.strain_ae.templates import (
    RECIPE,
    Geometry,
    Scan,
    initial_geometry,
    template_network,
    templates_of,
)
from repro.study import Applied, Quantity, Trained

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CRYSTAL = 0.3  # discs that are less bright than so much of the templates' are none [1]
EMPTY = 0.05  # patterns with fewer counts teach nothing [median pattern]
DISCS_APART = 2.5  # least radius of the first ring [disc radii]
FEWEST = 32  # patterns to learn from
MOSTLY = 0.95  # of the patterns: where fewer show a crystal, the others teach nothing
USELESS = 0.02  # deviation of strain [1]
ENDS = (1, 99)  # of the colour scales [percentiles]
UNITS = dict(zip(COMPONENTS, ("1", "1", "1", "degrees"), strict=True))
TO_DEGREES = np.array([1, 1, 1, np.rad2deg(1)])
ABOUT = {
    "xx": "ε_xx, strain along the rows of the detector, x pointing down",
    "yy": "ε_yy, strain along its columns",
    "xy": "ε_xy, shear",
    "rotation": "rotation of the crystal, from x towards y",
}
CAPTION = (
    "Strain and rotation against the reference, how well the model fits (1: to the counting noise) "
    "and how bright the discs are, of those of the templates. White: no crystal."
)


def apply(trained: Trained, source: Path, progress: Progress, **settings: str) -> Applied:
    """Map strain and rotation of a scan.

    Discs and background belong to a microscope and a detector, so that they are learned from the
    scan itself, in the way that the run was trained.

    Parameters
    ----------
    trained : Trained
        A run of the variant improved.
    source : Path
        A file as `repro.studies.strain_ae.scan_files.open_scan` takes it.
    progress : callable
        Is told how many rows are mapped.
    **settings : str
        What the user says of the file: ``reference``, the unstrained region, and what `open_scan`
        takes.

    Raises
    ------
    ReproError
        If the run is of another variant, the file is not as it should be, or no discs are found.
    """
    if trained.variant != "improved":
        raise ReproError(
            f"A run of {trained.variant} knows only the scan that it was trained on: give one of "
            "the variant improved, which learns from yours."
        )
    window = Window.of(settings.pop("reference", None))
    scan = open_scan(source, settings)
    window.check(scan)
    shown = scan.some()
    lowest, scan = float(shown.min()), scan.mending(shown)
    templates = learned(scan.mended(shown), scan.name, trained.seed)
    fit, strength = fitted(scan, templates, progress)
    fit = precise(calibrated(fit, strength, templates, trained.seed), scan.name)
    maps = Maps.of(fit, strength, scan.shape, window)
    notices = [*_about_file(scan, lowest), *maps.notices(window)]
    return Applied(maps.quantities(), {"maps": (maps.drawn(), CAPTION)}, tuple(notices))


def learned(patterns: np.ndarray, name: str, seed: int) -> Templates:
    """Learn discs and background from patterns of a scan, those without a crystal left out.

    Parameters
    ----------
    patterns : numpy.ndarray
        ``(n, side, side)`` [counts].
    name : str
        The file's.
    seed : int
        Of the order in which they are seen.

    Raises
    ------
    ReproError
        If it has too few patterns, or shows no discs.
    """
    total = patterns.sum(axis=(1, 2), dtype=np.float64)
    patterns = patterns[total > EMPTY * np.median(total)]
    if len(patterns) < FEWEST:
        raise ReproError(
            f"{name} has {len(patterns)} patterns with counts, and {FEWEST} at least are "
            "needed to learn discs and background from."
        )
    geometry = checked(initial_geometry(patterns), name)
    templates = templates_from(geometry, patterns, seed)
    found = fisher_scoring(patterns, templates, start(patterns, templates))
    crystals = crystal_strength(patterns, templates, found.parameters) > CRYSTAL
    if FEWEST <= crystals.sum() < MOSTLY * len(patterns):
        return templates_from(geometry, patterns[crystals], seed)
    return templates


def templates_from(geometry: Geometry, patterns: np.ndarray, seed: int) -> Templates:
    """Learn discs and background from patterns ``(n, side, side)`` whose geometry is known."""
    numbers = np.arange(len(patterns))
    source = Scan(patterns[:, None], numbers)
    from repro.training.fit import fit

    with TemporaryDirectory() as folder:
        model, _ = fit(
            partial(template_network, geometry),
            RECIPE,
            Batches(source.load, numbers, RECIPE.batch_size, integer_seed(seed, "order of a scan")),
            None,
            Path(folder),
            integer_seed(seed, "templates of a scan"),
            {},
            quiet=True,
            renew=source.renew,
        )
    return templates_of(model)


def checked(geometry: Geometry, name: str) -> Geometry:
    """Refuse a scan in whose mean pattern no ring of discs stands out.

    Raises
    ------
    ReproError
        Saying what was found instead.
    """
    first, radius = geometry.first_ring, geometry.disc_radius
    if not (np.isfinite(first) and geometry.intensity > 0 and first > DISCS_APART * radius):
        raise ReproError(
            f"{name}: no ring of discs about the direct beam can be made out in the mean pattern "
            f"(beam of {radius:.1f} pixels' radius): are these patterns of a crystal along a "
            "six-fold axis, with the direct beam on the detector?"
        )
    return geometry


def calibrated(fit: Fit, strength: np.ndarray, templates: Templates, seed: int) -> Fit:
    """Return a fit whose deviations hold, by how the patterns of crystals scatter.

    Raises
    ------
    ReproError
        If there is no crystal.
    """
    crystals = np.flatnonzero(strength > CRYSTAL)
    if not len(crystals):
        raise ReproError("No position of the scan shows the discs of a crystal.")
    alone = Fit(fit.parameters[crystals], fit.deviations[crystals], fit.quality[crystals])
    factor = alone.calibrated(templates, seed).deviations[0] / alone.deviations[0]
    return replace(fit, deviations=fit.deviations * factor)


def precise(fit: Fit, name: str) -> Fit:
    """Return a fit, unless it can tell no strain.

    Raises
    ------
    ReproError
        If the deviations of half of the positions are larger than what is sought.
    """
    typical = float(np.nanmedian(fit.deviations[:, :3]))
    if not typical < USELESS:
        raise ReproError(
            f"{name}: the discs are too weak to tell a strain, whose deviation would be "
            f"{typical:.2g} at half of the positions: add up patterns, or count longer."
        )
    return fit


def fitted(scan: ScanFile, templates: Templates, progress: Progress) -> tuple[Fit, np.ndarray]:
    """Fit every pattern of a scan, of which a row a thread is read at a time.

    Returns
    -------
    fit : Fit
        Row by row.
    strength : numpy.ndarray
        ``(n,)``: how bright the discs are, of those of the templates [1].
    """
    n_rows, _ = scan.shape
    strengths: list[np.ndarray] = []

    def of_row(number: int) -> tuple[Fit, np.ndarray]:
        patterns = scan.row(number)
        found = fisher_scoring(patterns, templates, start(patterns, templates))
        return found, crystal_strength(patterns, templates, found.parameters)

    def rows() -> Iterator[Fit]:
        for found, strength in side_by_side(of_row, range(n_rows)):
            strengths.append(strength)
            yield found
            progress(len(strengths), n_rows)

    return Fit.joined(rows()), np.concatenate(strengths)


@dataclass(frozen=True)
class Window:
    """The unstrained region: rows and columns of the scan, each ``(first, one after the last)``."""

    rows: tuple[int, int] | None = None
    columns: tuple[int, int] | None = None

    @classmethod
    def of(cls, text: str | None) -> Window:
        """Read ``10:20,0:8``.

        Raises
        ------
        ReproError
            If it says anything else.
        """
        if text is None:
            return cls()
        match = re.fullmatch(r"(\d+):(\d+),(\d+):(\d+)", text.replace(" ", ""))
        if match is None:
            raise ReproError(f"reference={text}: write rows and columns as 10:20,0:8.")
        first, after, left, right = map(int, match.groups())
        return cls((first, after), (left, right))

    def check(self, scan: ScanFile) -> None:
        """Refuse a region that is empty or not within a scan.

        Raises
        ------
        ReproError
            Saying what the scan has.
        """
        if self.rows is None:
            return
        for (first, after), n in zip((self.rows, self.columns), scan.shape, strict=True):
            if not first < after <= n:
                n_rows, n_columns = scan.shape
                raise ReproError(
                    f"The reference {first}:{after} is no part of a scan of {n_rows} rows and "
                    f"{n_columns} columns: give one within it."
                )

    def within(self, shape: tuple[int, int]) -> np.ndarray:
        """Return which positions are in the region, ``(n,)`` bool; all without one."""
        inside = np.ones(shape, bool)
        if self.rows is not None:
            inside[:] = False
            inside[slice(*self.rows), slice(*self.columns)] = True
        return inside.ravel()


@dataclass(frozen=True)
class Maps:
    """What was found at every position of a scan; NaN where there is no crystal.

    Parameters
    ----------
    found, deviations : numpy.ndarray
        ``(n_rows, n_columns, 4)``: ε_xx, ε_yy, ε_xy [1] and rotation [degrees].
    averaged, averaged_deviations : numpy.ndarray
        The same of every position together with its neighbours.
    misfit, strength : numpy.ndarray
        ``(n_rows, n_columns)`` [1].
    """

    found: np.ndarray
    deviations: np.ndarray
    averaged: np.ndarray
    averaged_deviations: np.ndarray
    misfit: np.ndarray
    strength: np.ndarray

    @classmethod
    def of(cls, fit: Fit, strength: np.ndarray, shape: tuple[int, int], window: Window) -> Maps:
        """Return a fit as maps against a reference region.

        Raises
        ------
        ReproError
            If there is no crystal in it.
        """
        is_crystal = strength > CRYSTAL
        in_reference = is_crystal & window.within(shape)
        if not in_reference.any():
            raise ReproError("No position of the reference shows the discs of a crystal.")
        known = fit.parameters[in_reference]
        # Of a whole scan the median, which grains at its ends do not move.
        middle = np.mean if window.rows else np.median
        reference = np.append(middle(known[:, :3], axis=0), circular_mean(known[:, 3], SIXTH))
        squares = fit.deviations[in_reference] ** 2
        of_reference = np.sqrt(squares.mean(axis=0) / in_reference.sum())
        alone = np.where(is_crystal[:, None], fit.deviations, np.nan).reshape(*shape, -1)
        found = np.where(is_crystal[:, None], relative(fit.parameters, reference), np.nan)
        found = found.reshape(*shape, -1)
        averaged, together = with_neighbours(found, alone)
        return cls(
            found * TO_DEGREES,
            np.hypot(alone, of_reference) * TO_DEGREES,
            averaged * TO_DEGREES,
            np.hypot(together, of_reference) * TO_DEGREES,
            fit.quality.reshape(shape),
            strength.reshape(shape),
        )

    def quantities(self) -> dict[str, Quantity]:
        """Return the maps by name."""
        maps: dict[str, Quantity] = {}
        for place, component in enumerate(COMPONENTS):
            name = component if component == "rotation" else f"strain_{component}"
            unit, about = UNITS[component], ABOUT[component]
            maps[name] = Quantity(self.found[..., place], unit, f"{about}, against the reference.")
            maps[f"{name}_deviation"] = Quantity(
                self.deviations[..., place], unit, f"Standard deviation of {name}."
            )
            maps[f"{name}_neighbours"] = Quantity(
                self.averaged[..., place], unit, f"{name}, averaged within its grain."
            )
            maps[f"{name}_neighbours_deviation"] = Quantity(
                self.averaged_deviations[..., place],
                unit,
                f"Standard deviation of {name}_neighbours.",
            )
        maps["misfit"] = Quantity(
            self.misfit, "1", "Mean square of what the model leaves, in standard deviations."
        )
        maps["crystal"] = Quantity(
            self.strength, "1", "How bright the discs are, of those of the templates."
        )
        return maps

    def drawn(self) -> Figure:
        """Draw strain, rotation, misfit and strength."""
        figure, axes = new_figure(2, 3, PAGE_WIDTH, 0.8 * PAGE_WIDTH)
        shown = [*np.moveaxis(self.found * SHOWN_AS, -1, 0), self.misfit, self.strength]
        labels = (*LABELS, "misfit", "brightness of discs")
        with house_style():
            for ax, values, label in zip(axes.flat, shown, labels, strict=True):
                low, high = np.nanpercentile(values, ENDS)
                scale = {"cmap": INTENSITIES, "vmin": low, "vmax": high}
                if label in LABELS:
                    largest = max(abs(low), abs(high))
                    scale = {"cmap": DIFFERENCES, "vmin": -largest, "vmax": largest}
                colours_below(figure, ax, image(ax, values, **scale), aspect=15, label=label)
        return figure

    def notices(self, window: Window) -> list[str]:
        """Say what the numbers are against, and where there are none."""
        said = []
        if window.rows is None:
            said.append(
                "Strain and rotation are against the middle of the whole scan: say which part is "
                "unstrained with --set reference=ROWS,COLUMNS, such as 10:20,0:8."
            )
        n = int(np.isnan(self.found[..., 0]).sum())
        if n:
            said.append(
                f"{n} of {self.misfit.size} positions show no crystal; their strain is left empty."
            )
        return said


def _about_file(scan: ScanFile, lowest: float) -> Iterator[str]:
    """Say how a file was read, and what was done to its patterns."""
    (n_rows, n_columns), (height, width) = scan.shape, scan.detector
    yield (
        f"{scan.name} is read as {n_rows} rows and {n_columns} columns of patterns of {height} by "
        f"{width} pixels."
    )
    if height != width:
        yield f"Of the patterns the {scan.side} by {scan.side} pixels in the middle are used."
    if scan.bad is not None and len(scan.bad):
        yield f"{len(scan.bad)} dead or hot pixels are taken from their neighbours."
    if lowest < 0:
        yield (
            f"There are negative counts, down to {lowest:.3g}: they are kept, and deviations are "
            "scaled to how the patterns scatter."
        )
