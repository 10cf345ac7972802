"""A paper and its claims, as a study's ``claims.yaml`` states them before any run.

A metric is named as the evaluation names it. ``EXPERIMENT:NAME`` takes it from the record of
another experiment, and a name that ends in ``*`` is the mean of all metrics that begin so.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from repro.errors import ReproError
from repro.evaluation.records import first_problem
from repro.files import parse_yaml

Plain = bool | int | float | str
Declared = TypeVar("Declared", bound=BaseModel)


class Paper(BaseModel):
    """The paper that a study reproduces."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    authors: list[str]
    venue: str
    year: int
    url: str | None = Field(None, pattern=r"^https?://\S+$")  # it becomes a link


@dataclass(frozen=True)
class Condition:
    """What must hold of one metric, or of the difference of two, for a claim to hold.

    Parameters
    ----------
    metrics : tuple of str
        One metric, or the one that must exceed and the one that must be exceeded.
    floor, ceiling : float
        Where the value must lie; infinite on a side without bound.
    as_reported : float
        The value of a reproduction that is exactly as reported.
    far : float
        The same two margins to the worse side.
    """

    metrics: tuple[str, ...]
    floor: float
    ceiling: float
    as_reported: float
    far: float


class Spread(BaseModel):
    """The spread that a run at the paper's scale is expected to have, where no record tells it.

    Parameters
    ----------
    seeds : float
        Standard deviation over seeds, in the claim's unit.
    reason : str
        Where the figure comes from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    seeds: float = Field(gt=0)
    reason: str = Field(min_length=1)


class Claim(BaseModel):
    """One statement of the paper that can be checked.

    Parameters
    ----------
    id : str
        Short name, unique within the study.
    statement : str
        The claim in one sentence.
    where : str
        Where it stands in the paper or its published material.
    kind : str
        ``"number"``: the metric is the reported value within the margin. ``"bound"``: it does not
        cross `threshold`. ``"order"``: the metrics in ``order`` fall from first to last.
    metric : str
        The metric of a number or a bound.
    each : list of str, optional
        The metrics of a bound that every one of them must keep.
    reported : float, optional
        The value as published; none where the paper has words only.
    limit : float, optional
        For a bound that the paper gives in words: the number they are read as.
    unit : str
        Unit of ``reported``, ``limit``, ``margin`` and ``minimum_difference``.
    better : str
        Which way is better; for a bound, ``"lower"`` makes it an upper bound.
    margin : float
        Of a number: how far from ``reported`` still counts as reproduced. Of a bound: how far
        beyond ``reported`` the threshold lies; of a bound in words and of an order, how far
        within the threshold a result lies that the protocol should recognise. Fixed before the run.
    margin_reason : str
        Why this margin, limit or minimum difference.
    order : list of str, optional
        Metrics in falling order.
    minimum_difference : float
        By how much each must exceed the next.
    reported_runs : int
        Of how many runs a number is the mean; one where the paper does not say.
    expected_spread : Spread, optional
        What power is computed from where no record tells the spread at the paper's scale.
    without_samples : str
        Why no sample of the test split stands behind the metric; empty where they do.
    variant, preset, experiment : str
        Which run the claim is about.
    seeds : int
        How many seeds a verdict at the paper's scale is planned with.
    protocol : dict
        What else a run at the paper's scale must be, by place in the record, such as
        ``networks.*.recipe.epochs: 30``; ``*`` in a name stands for any characters.
    data_protocol : dict
        What its data set must be, by experiment; the study adds it from its data spec.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    id: str = Field(pattern=r"^[a-z0-9_]+$")
    statement: str
    where: str
    kind: Literal["number", "bound", "order"]
    metric: str = ""
    each: list[str] | None = Field(default=None, min_length=1)
    reported: float | None = None
    limit: float | None = None
    unit: str = "1"
    better: Literal["lower", "higher"] = "higher"
    margin: float = Field(gt=0)
    margin_reason: str = Field(min_length=1)
    order: list[str] | None = None
    minimum_difference: float = Field(default=0.0, ge=0)
    reported_runs: int = Field(default=1, ge=1)
    expected_spread: Spread | None = None
    without_samples: str = ""
    variant: str = "faithful"
    preset: str = "paper"
    experiment: str
    seeds: int = Field(default=3, ge=1)
    protocol: dict[str, Any] = {}
    data_protocol: dict[str, dict[str, Any]] = {}

    @property
    def metrics(self) -> list[str]:
        """Every metric the claim names."""
        return self.order or self.each or [self.metric]

    @property
    def experiments(self) -> list[str]:
        """The experiments whose records the claim reads."""
        return list(dict.fromkeys(self.place_of(name)[0] for name in self.metrics))

    @property
    def data_name(self) -> str | None:
        """The data set that the claim is about alone; None if any of its study's may answer it."""
        return self.protocol.get("data.name")

    def place_of(self, name: str) -> tuple[str, str]:
        """Return the experiment and the metric that a name stands for."""
        experiment, colon, metric = name.partition(":")
        return (experiment, metric) if colon else (self.experiment, name)

    @property
    def threshold(self) -> float:
        """The value that a bound's metrics must not cross."""
        return self.limit if self.limit is not None else self._reported - self._sign * self.margin

    @property
    def conditions(self) -> list[Condition]:
        """What must hold, each on its own."""
        if self.kind == "number":
            ends = self._reported - self.margin, self._reported + self.margin
            far = self._reported - 2 * self._sign * self.margin
            return [Condition((self.metric,), *ends, self._reported, far)]
        if self.kind == "order":
            least = self.minimum_difference
            near, far = least + self.margin, least - self.margin
            return [Condition(pair, least, math.inf, near, far) for pair in pairwise(self.metrics)]
        at = self.threshold
        ends = (at, math.inf) if self.better == "higher" else (-math.inf, at)
        near, far = (at + side * self._sign * self.margin for side in (1, -1))
        return [Condition((name,), *ends, near, far) for name in self.metrics]

    @property
    def _reported(self) -> float:
        """The paper's number, which claims of these kinds have."""
        if self.reported is None:
            raise ValueError(f"the claim {self.id} reports no number")
        return self.reported

    @property
    def _sign(self) -> int:
        return 1 if self.better == "higher" else -1

    @model_validator(mode="after")
    def _complete(self) -> Claim:
        missing = {"number": self._number, "bound": self._bound, "order": self._order}[self.kind]()
        if missing:
            raise ValueError(f"claim {self.id}, of kind {self.kind}, needs {missing}")
        return self

    def _number(self) -> str | None:
        if not self.metric or self.reported is None or self.limit is not None:
            return "metric and reported, and no limit"
        if self.order or self.each:
            return "one metric, neither order nor each"
        return None if "better" in self.model_fields_set else "better: lower or higher"

    def _bound(self) -> str | None:
        if bool(self.metric) == bool(self.each) or self.order:
            return "either metric or each, and no order"
        if (self.reported is None) == (self.limit is None):
            return "either reported or limit"
        if "better" not in self.model_fields_set:
            return "better: lower for an upper bound, higher for a lower one"
        return None

    def _order(self) -> str | None:
        if self.metric or self.each or self.reported is not None or self.limit is not None:
            return "order alone: no metric, each, reported or limit"
        if not self.order or len(self.order) < 2:
            return "two metrics or more in order"
        return None


class Claims(BaseModel):
    """A paper and all its claims, and what the suite found beyond them.

    Parameters
    ----------
    paper : Paper
        The paper.
    claims : list of Claim
        Its claims.
    findings : list of str
        What the paper does not say, a sentence each; ``{RECORD METRIC}`` stands for the mean of a
        metric of a baseline record.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    paper: Paper
    claims: list[Claim] = Field(min_length=1)
    findings: list[str] = []

    @model_validator(mode="after")
    def _unique(self) -> Claims:
        name, n = Counter(claim.id for claim in self.claims).most_common(1)[0]
        if n > 1:
            raise ValueError(f"the claim id {name} is used {n} times")
        return self


def load_claims(path: Path) -> Claims:
    """Read a ``claims.yaml``.

    Raises
    ------
    ReproError
        If there is no such file, it is not YAML, or an entry is missing, unknown or wrong.
    """
    return read_declared(path, Claims, "claims")


def read_declared(path: Path, model: type[Declared], key: str) -> Declared:
    """Read what a study declares in a YAML file: its claims or its gates.

    Parameters
    ----------
    path : Path
        The file.
    model : type
        What it holds.
    key : str
        Where in it the list of entries with an ``id`` stands; it names the file in messages too.

    Raises
    ------
    ReproError
        If there is no such file, it is not YAML, or an entry is missing, unknown or wrong; the
        message names the entry by its id.
    """
    path = Path(path)
    try:
        content = parse_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ReproError(f"Cannot read the {key} {path}: {error.strerror}.") from None
    except ValueError as error:
        raise ReproError(f"The {key} {path} are not YAML: {error}.") from None
    try:
        return model.model_validate(content)
    except ValidationError as error:
        problem = first_problem(error)
        match error.errors()[0]["loc"]:
            case (_, int(i), *_):
                problem = problem.replace(f"{key}.{i}", f"{key}.{_id(content[key][i], i)}", 1)
        raise ReproError(f"The {key} {path} are wrong: {problem}.") from None


def _id(entry: Any, i: int) -> Any:
    return entry.get("id", i) if isinstance(entry, dict) else i
