"""What the report shows of the ledger: how primary metrics moved, and what was accepted and why."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from repro.evaluation.regression import FLOOR
from repro.reporting.formatting import MISSING, count, minus, number
from repro.reporting.history import Entry
from repro.reporting.labels import metric_label

WIDTH, HEIGHT, EDGE = 120, 26, 3  # of a plot [user units]
STYLES = 4  # of lines; a fifth kind of machine looks like the first
SPEED = "training_speed"  # beside the metrics
MOST_MOVES = 2  # told beside a plot


@dataclass(frozen=True)
class Course:
    """A figure of one record on one kind of machine, as it was accepted again and again.

    Parameters
    ----------
    name, machine : str
        The record and the machine.
    places : tuple of int
        The acceptances, by number.
    values : tuple of float
        The figure at each.
    """

    name: str
    machine: str
    places: tuple[int, ...]
    values: tuple[float, ...]

    @property
    def changes(self) -> tuple[float, ...]:
        """By how much each value exceeds the first, in parts of that."""
        first = self.values[0]
        size = abs(first) or max(map(abs, self.values)) or 1.0
        return tuple((value - first) / size for value in self.values)

    @property
    def largest_step(self) -> tuple[float, int]:
        """The largest change from one acceptance to the next, and at which place in the course."""
        steps = [after - before for before, after in pairwise(self.changes)]
        place = max(range(len(steps)), key=lambda i: abs(steps[i]))
        return steps[place], place + 1


@dataclass(frozen=True)
class Line:
    """Courses that look alike: the path in the plot, the machine's style, and what they are."""

    path: str
    style: int
    about: str


@dataclass(frozen=True)
class Move:
    """A step that rounding and another processor do not explain, and its acceptance's number."""

    text: str
    acceptance: int


@dataclass(frozen=True)
class Plot:
    """A figure over acceptances, each line in parts of its first value.

    Parameters
    ----------
    key, label : str
        The metric, and in words.
    lines : list of Line
        What is drawn.
    height : str
        What half the plot's height means.
    moves : list of Move
        The largest steps.
    """

    key: str
    label: str
    lines: list[Line]
    height: str
    moves: list[Move]


@dataclass(frozen=True)
class Acceptance:
    """Records accepted together, each with its seeds, and what the ledger says of them."""

    number: int
    date: str
    commit: str
    machine: str
    versions: str
    result: str
    reason: str
    records: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class StudyHistory:
    """A study's part of the ledger.

    Parameters
    ----------
    study : str
        Its name.
    machines : dict
        The style of each kind of machine's lines.
    plots : list of Plot
        One a primary metric, then the speed of training; none while no record was accepted twice.
    acceptances : list of Acceptance
        Oldest first.
    """

    study: str
    machines: dict[str, int]
    plots: list[Plot]
    acceptances: list[Acceptance]


def history_view(entries: Sequence[Entry]) -> list[StudyHistory]:
    """Return each study's part of a ledger, whose entries stand oldest first."""
    studies: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        studies[entry.study].append(entry)
    return [_study(name, own) for name, own in studies.items()]


def _study(name: str, entries: Sequence[Entry]) -> StudyHistory:
    kinds = dict.fromkeys(entry.machine for entry in entries)
    machines = {kind: i % STYLES for i, kind in enumerate(kinds)}
    groups: dict[tuple[str | None, ...], list[Entry]] = defaultdict(list)
    for entry in entries:
        groups[entry.date, entry.commit, entry.reason, entry.machine].append(entry)
    together = list(enumerate(groups.values(), start=1))
    numbered = [(place, entry) for place, group in together for entry in group]
    return StudyHistory(
        study=name,
        machines=machines,
        plots=[_plot(key, own, machines) for key, own in _courses(numbered).items()],
        acceptances=[_acceptance(place, group) for place, group in together],
    )


def _acceptance(place: int, entries: Sequence[Entry]) -> Acceptance:
    first = entries[0]
    results = dict.fromkeys(
        f"{entry.compared}, forced" if entry.forced else entry.compared for entry in entries
    )
    return Acceptance(
        number=place,
        date=first.date,
        commit=first.commit or MISSING,
        machine=first.machine,
        versions=", ".join(f"{library} {text}" for library, text in first.versions.items()),
        result="; ".join(results),
        reason=first.reason or MISSING,
        records=tuple((entry.name, count(entry.seeds, "seed")) for entry in entries),
    )


def _courses(numbered: Sequence[tuple[int, Entry]]) -> dict[str, list[Course]]:
    """Return the courses of each figure, the speed last; a value alone is none."""
    points: dict[tuple[str, str, str], list[tuple[int, float]]] = defaultdict(list)
    for place, entry in numbered:
        for key, value in _figures(entry).items():
            points[key, entry.name, entry.machine].append((place, value))
    found: dict[str, list[Course]] = defaultdict(list)
    for (key, name, machine), several in points.items():
        if len(several) > 1:
            found[key].append(Course(name, machine, *zip(*several, strict=True)))
    return dict(sorted(found.items(), key=lambda item: item[0] == SPEED))


def _figures(entry: Entry) -> dict[str, float]:
    return entry.metrics | ({} if entry.speed is None else {SPEED: entry.speed})


def _plot(key: str, courses: Sequence[Course], machines: Mapping[str, int]) -> Plot:
    largest = max(FLOOR, *(abs(change) for course in courses for change in course.changes))
    last = max(course.places[-1] for course in courses)
    alike: dict[tuple[str, int], list[Course]] = defaultdict(list)
    for course in courses:
        alike[_path(course, last, largest), machines[course.machine]].append(course)
    return Plot(
        key=key,
        label=metric_label(key),
        lines=[Line(*drawn, _about(own)) for drawn, own in alike.items()],
        height=f"±\N{NO-BREAK SPACE}{_percent(largest)}",
        moves=_moves(courses),
    )


def _path(course: Course, last: int, largest: float) -> str:
    """Return a course as an SVG path: acceptances to the right, changes upwards."""
    across = (WIDTH - 2 * EDGE) / max(last - 1, 1)
    up = (HEIGHT / 2 - EDGE) / largest
    points = [
        f"{EDGE + across * (place - 1):.4g} {HEIGHT / 2 - up * change:.3g}"
        for place, change in zip(course.places, course.changes, strict=True)
    ]
    return f"M{'L'.join(points)}"


def _about(courses: Sequence[Course]) -> str:
    """Say which records a line is of, and the values of the first of them."""
    first = courses[0]
    more = "".join(f"; {course.name}" for course in courses[1:])
    return f"{first.name}: {' → '.join(map(number, first.values))}{more} ({first.machine})"


def _moves(courses: Sequence[Course]) -> list[Move]:
    """Tell the largest steps beyond what another processor moves."""
    moves = []
    for course in sorted(courses, key=lambda course: -abs(course.largest_step[0])):
        step, i = course.largest_step
        if abs(step) > FLOOR:
            before, after = map(number, course.values[i - 1 : i + 1])
            text = f"{course.name} {before} → {after} ({_percent(step, '+')})"
            moves.append(Move(text, course.places[i]))
    return moves[:MOST_MOVES]


def _percent(share: float, sign: str = "") -> str:
    return minus(f"{100 * share:{sign}.2g}\N{NO-BREAK SPACE}%")
