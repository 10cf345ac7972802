"""A paper and its claims, as a study's ``claims.yaml`` states them before any run.

A metric is named as the evaluation names it. ``EXPERIMENT:NAME`` takes it from the record of
another experiment, and a name that ends in ``*`` is the mean of all metrics that begin so.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from repro.errors import ReproError
from repro.evaluation.records import first_problem

Plain = bool | int | float | str
Declared = TypeVar("Declared", bound=BaseModel)


class Paper(BaseModel):
    """The paper that a study reproduces."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    authors: list[str]
    venue: str
    year: int
    url: str | None = None


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
    reported : float, optional
        The value as published; none where the paper has words only.
    limit : float, optional
        For a bound that the paper gives in words: the number they are read as.
    unit : str
        Unit of ``reported``, ``limit``, ``margin`` and ``minimum_difference``.
    better : str
        Which way is better; for a bound, ``"lower"`` makes it an upper bound.
    margin : float, optional
        How far from ``reported`` still counts as reproduced, fixed before the run.
    margin_reason : str
        Why this margin or limit.
    order : list of str, optional
        Metrics in falling order.
    minimum_difference : float
        By how much each must exceed the next.
    variant, preset, experiment : str
        Which run the claim is about.
    seeds : int
        How many seeds a verdict needs.
    protocol : dict
        What else must hold, by place in the record, such as ``data.counts.train: 90000``; ``*``
        stands for every name at its place.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    id: str = Field(pattern=r"^[a-z0-9_]+$")
    statement: str
    where: str
    kind: Literal["number", "bound", "order"]
    metric: str = ""
    reported: float | None = None
    limit: float | None = None
    unit: str = "1"
    better: Literal["lower", "higher"] = "higher"
    margin: float | None = Field(default=None, ge=0)
    margin_reason: str = ""
    order: list[str] | None = None
    minimum_difference: float = Field(default=0.0, ge=0)
    variant: str = "faithful"
    preset: str = "paper"
    experiment: str
    seeds: int = Field(default=3, ge=2)
    protocol: dict[str, Plain] = {}

    @property
    def metrics(self) -> list[str]:
        """Every metric the claim names."""
        return self.order or [self.metric]

    @property
    def threshold(self) -> float:
        """The value that a bound's metric must not cross."""
        if self.limit is not None:
            return self.limit
        slack = self.margin or 0.0
        return self.reported + slack if self.better == "lower" else self.reported - slack

    @model_validator(mode="after")
    def _complete(self) -> Claim:
        missing = {"number": self._number, "bound": self._bound, "order": self._order}[self.kind]()
        if missing:
            raise ValueError(f"claim {self.id}, of kind {self.kind}, needs {missing}")
        return self

    def _number(self) -> str | None:
        if not self.metric or self.reported is None or self.limit is not None or self.order:
            return "metric and reported, and neither limit nor order"
        if "better" not in self.model_fields_set:
            return "better: lower or higher"
        if not self.margin or not self.margin_reason:
            return "margin above 0 and margin_reason"
        return None

    def _bound(self) -> str | None:
        if not self.metric or self.order:
            return "metric and no order"
        if (self.reported is None) == (self.limit is None):
            return "either reported or limit"
        if self.limit is not None and self.margin is not None:
            return "no margin, since its limit is fixed here"
        if "better" not in self.model_fields_set:
            return "better: lower for an upper bound, higher for a lower one"
        if (self.limit is not None or self.margin) and not self.margin_reason:
            return "margin_reason"
        return None

    def _order(self) -> str | None:
        if self.metric or self.reported is not None or self.limit is not None:
            return "order alone, and neither metric, reported nor limit"
        if not self.order or len(self.order) < 2:
            return "two metrics or more in order"
        return None


class Claims(BaseModel):
    """A paper and all its claims."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    paper: Paper
    claims: list[Claim] = Field(min_length=1)

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
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ReproError(f"Cannot read the {key} {path}: {error.strerror}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        problem = " ".join(str(error).split())
        raise ReproError(f"The {key} {path} are not YAML: {problem}.") from None
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
