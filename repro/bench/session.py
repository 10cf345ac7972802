"""Which rows are timed, in which order, and how the time is shared out among them."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from repro.bench.networks import Network, list_networks
from repro.bench.rows import PHASES, BenchmarkFile, LeftOut, Phase, Row
from repro.display import SILENT, Display
from repro.errors import ReproError
from repro.study import Study, get_study, studies
from repro.training.precision import check_precision
from repro.training.ways import check_way

if TYPE_CHECKING:
    from repro.bench.subject import Subject

PRESETS = ("paper", "desk")
LARGEST = "max"  # as a batch size: double it until memory or time ends
BUDGET_S, BUDGET_ON_A_GPU_S = 15 * 60.0, 8 * 60.0
MOST_SECONDS_A_PHASE = 8.0
NETWORKS_A_VARIANT = 2  # expected of those that are not listed yet
MOST_OF_WHAT_IS_LEFT = 0.25  # for a row whose steps are slow
LONGEST_STEP_S = 20.0  # of a batch that may be doubled
USABLE_MEMORY = 0.8  # share of what is there, for a larger batch
TIME_IS_UP = "the time was up"


@dataclass(frozen=True)
class Wanted:
    """What to time.

    Parameters
    ----------
    studies, variants : tuple of str
        Which; none stands for all.
    presets : tuple of str
        At which sizes.
    phases : tuple of str
        ``"train"``, ``"infer"``, ``"data"``.
    precisions : tuple of str
        Keras dtype policies; none stands for each recipe's own.
    batches : tuple of str
        Batch sizes, ``"max"`` among them for a sweep; none stands for each recipe's own.
    devices : int
        Devices that share a batch [1].
    way : str, optional
        How training steps are taken.

    Raises
    ------
    ReproError
        Naming what does not exist, and what does.
    """

    studies: tuple[str, ...] = ()
    variants: tuple[str, ...] = ()
    presets: tuple[str, ...] = PRESETS
    phases: tuple[str, ...] = PHASES
    precisions: tuple[str, ...] = ()
    batches: tuple[str, ...] = ()
    devices: int = 1
    way: str | None = None

    def __post_init__(self):
        if not (self.presets and self.phases):
            raise ReproError("There is nothing to time: name at least one preset and one phase.")
        for phase in self.phases:
            if phase not in PHASES:
                raise ReproError(f"There is no phase {phase!r}: choose {', '.join(PHASES)}.")
        for policy in self.precisions:
            check_precision(policy)
        for batch in self.batches:
            if batch != LARGEST and not (batch.isdecimal() and int(batch)):
                raise ReproError(f"--batch {batch}: write whole numbers and max, as in 16,64,max.")
        if self.way is not None:
            check_way(self.way)
        if self.devices < 1:
            raise ReproError(f"{self.devices} devices: give a number of at least 1.")
        self._check_groups()

    def _check_groups(self) -> None:
        for name in self.studies:
            get_study(name)
        known = {variant for study in self.chosen for variant in study.variants}
        for variant in self.variants:
            if variant not in known:
                raise ReproError(
                    f"There is no variant {variant!r}: choose {', '.join(sorted(known))}."
                )
        for study in self.chosen:
            for preset in self.presets:
                study.data_spec.resolve(preset)

    @property
    def checked_phases(self) -> list[Phase]:
        """The phases, each once, in the order asked for."""
        return [known for phase in self.phases for known in PHASES if known == phase]

    @property
    def chosen(self) -> list[Study]:
        """The studies."""
        every = studies()
        return [every[name] for name in self.studies or every]

    @property
    def groups(self) -> list[tuple[Study, str, str]]:
        """Study, variant and preset of what is timed, the presets in turn."""
        return [
            (study, variant, preset)
            for preset in self.presets
            for study in self.chosen
            for variant in study.variants
            if variant in (self.variants or study.variants)
        ]


class Session:
    """Times what is wanted within a budget; what did not fit in is said.

    Parameters
    ----------
    wanted : Wanted
        What to time.
    budget_s : float, optional
        How long all of it may take [s]; by default a quarter of an hour, or 8 minutes on a GPU.
    display : Display
        Where progress goes.

    Attributes
    ----------
    left_out : list of LeftOut
        What was not timed, and why.
    """

    def __init__(self, wanted: Wanted, budget_s: float | None = None, display: Display = SILENT):
        from repro.bench.ceilings import Ceilings
        from repro.bench.device import gpu_name

        default = BUDGET_ON_A_GPU_S if gpu_name() else BUDGET_S
        self.wanted, self._display = wanted, display
        self._end = time.monotonic() + (budget_s or default)
        self._ceilings = Ceilings()
        self.left_out: list[LeftOut] = []

    def sharing(self) -> AbstractContextManager:
        """Return the context in which rows are timed and the machine is described.

        Raises
        ------
        ReproError
            If that many devices are not possible under this backend.
        NotPossibleHere
            If this machine has fewer.
        """
        from repro.training.devices import use_devices

        return use_devices(self.wanted.devices)

    def rows(self) -> Iterator[Row]:
        """Yield the rows, each when it is timed; one that is yielded again replaces the first."""
        groups = self.wanted.groups
        for place, (study, variant, preset) in enumerate(groups):
            if self._seconds_left() <= 0:
                self._leave_out(f"{study.name} {variant} {preset}", TIME_IS_UP)
                continue
            yield from self._group(study, variant, preset, len(groups) - place - 1)

    def _group(self, study: Study, variant: str, preset: str, n_later: int) -> Iterator[Row]:
        networks = list_networks(study, variant, preset)
        for place, network in enumerate(networks):
            policies = self.wanted.precisions or (network.task.recipe.precision,)
            for policy in policies:
                to_come = len(networks) - place + NETWORKS_A_VARIANT * n_later
                seconds = self._seconds_left() / (to_come * len(policies))
                yield from self._network(network, policy, seconds)

    def _network(self, network: Network, policy: str, seconds: float) -> Iterator[Row]:
        """Time a network in one precision."""
        from repro.bench.subject import Subject
        from repro.training.devices import clear_session

        what = f"{network.study} {network.variant} {network.preset} {network.task.name}, {policy}"
        self._display.announce(f"time {what}")
        subject = Subject(network, policy, self.wanted.way)
        phases = self._phases_of(policy)
        for phase in phases:
            yield from self._phase(subject, phase, f"{what}, {phase}", seconds / len(phases))
        del subject
        clear_session()
        gc.collect()  # what it held would count as memory of the next network

    def _phases_of(self, policy: str) -> tuple[Phase, ...]:
        """Return the phases to time in a precision: the host makes the same batches in all."""
        is_first = policy == (self.wanted.precisions or (policy,))[0]
        return tuple(p for p in self.wanted.checked_phases if p != "data" or is_first)

    def _phase(self, subject: Subject, phase: Phase, what: str, seconds: float) -> Iterator[Row]:
        """Time a phase with every wanted batch size."""
        end = time.monotonic() + seconds
        asked = self.wanted.batches or (str(subject.recipe.batch_size),)
        sizes = sorted({int(batch) for batch in asked if batch != LARGEST})
        rows = []
        for batch in sizes or [subject.recipe.batch_size]:
            row = self._row(subject, phase, batch, what, seconds)
            if row is None:
                return
            rows.append(row)
            yield row
        if LARGEST not in asked or phase == "data":
            return
        # Double the batch until the memory or the time does not suffice for the next one.
        while not (reason := why_no_larger(rows, end)):
            row = self._row(subject, phase, 2 * rows[-1].batch, what, seconds)
            if row is None:
                reason = self.left_out.pop().reason
                break
            rows.append(row)
            yield row
        yield rows[-1].model_copy(update={"largest": reason})

    def _row(
        self, subject: Subject, phase: Phase, batch: int, what: str, seconds: float
    ) -> Row | None:
        """Time one batch size; None, with the reason kept, where that is not possible."""
        from repro.bench.measure import time_phase
        from repro.bench.timing import NotTimed

        left, workers = self._seconds_left(), self.wanted.devices
        try:
            if left <= 0:
                raise NotTimed(TIME_IS_UP)
            if batch % workers:
                raise NotTimed(f"{workers} devices cannot share it equally")
            wish = min(seconds / 2, MOST_SECONDS_A_PHASE)  # the first steps take time too
            limit = left * MOST_OF_WHAT_IS_LEFT
            return time_phase(subject, phase, batch, wish, limit, self._ceilings, workers)
        except MemoryError as error:
            subject.forget_model()
            self._leave_out(f"{what}, batch {batch}", str(error))
        except NotTimed as reason:
            self._leave_out(f"{what}, batch {batch}", str(reason))
        return None

    def _seconds_left(self) -> float:
        return self._end - time.monotonic()

    def _leave_out(self, what: str, reason: str) -> None:
        self.left_out.append(LeftOut(what=what, reason=reason))


def why_no_larger(rows: list[Row], end: float, available: float | None = None) -> str:
    """Say why twice the last batch is not tried, such as how the memory grew; empty if it is.

    Parameters
    ----------
    rows : list of Row
        Rows of one phase of a network, the batch growing.
    end : float
        When the time for them is up, on the clock of `time.monotonic` [s].
    available : float, optional
        Memory that there is [byte]; by default that of the device.
    """
    from repro.bench.watching import available_bytes

    if time.monotonic() > end:
        return "its share of the time was up"
    if rows[-1].seconds.median > LONGEST_STEP_S:
        return f"a step takes {rows[-1].seconds.median:.0f} s"
    peaks = [row.peak_gb for row in rows[-2:] if row.peak_gb is not None]
    if len(peaks) < len(rows[-2:]):
        return ""
    growth = peaks[-1] - peaks[0] if len(peaks) > 1 else peaks[-1] / 2
    needed, there = peaks[-1] + 2 * max(growth, 0.0), (available or available_bytes()) / 1e9
    if needed <= USABLE_MEMORY * there:
        return ""
    return f"twice as many would take about {needed:.1f} GB of memory; there are {there:.1f} GB"


def benchmark_file(session: Session, rows: list[Row]) -> BenchmarkFile:
    """Return rows with all that must be known to compare them with others."""
    import keras

    from repro.bench.machine import commit, machine_facts
    from repro.bench.watching import why_no_energy
    from repro.code_hash import hash_code
    from repro.evaluation.provenance import command_line, hash_json

    no_energy = why_no_energy()
    return BenchmarkFile(
        machine=machine_facts(keras.config.backend()),
        code=hash_json({name: hash_code(name) for name in studies()}),
        commit=commit(),
        date=date.today().isoformat(),
        command=command_line(),
        notes=[no_energy] if no_energy else [],
        rows=rows,
        left_out=session.left_out,
    )
