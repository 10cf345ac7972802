"""Data specs: how a data set is made, what it holds and in which units, read from YAML."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import math
import os
import sys
import sysconfig
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    StrictBool,
    StrictFloat,
    StrictInt,
    ValidationError,
    model_validator,
)

import repro
from repro.errors import ReproError
from repro.files import parse_yaml

SPLITS = ("train", "validation", "test")
PRESETS = ("smoke", "desk", "paper")  # from small to large
FUNCTION = r"^[\w.]+:\w+$"
RESERVED_NAMES = {"split", "normalisation", "parameters"}

Seed = Annotated[StrictInt, Field(ge=0, lt=2**63)]
Scalar = StrictBool | StrictInt | StrictFloat | str
Value = Scalar | list[Scalar]


def _check_dtype(text: str) -> str:
    try:
        dtype = np.dtype(text)
    except TypeError:
        raise ValueError(f"'{text}' is no NumPy dtype") from None
    if dtype.kind not in "fiu" or dtype.name != text:
        raise ValueError(f"'{text}' is not a plain dtype such as float32, int64 or uint8")
    return text


def _check_value(value: Value) -> Value:
    items = value if isinstance(value, list) else [value]
    for item in items:
        if isinstance(item, float) and not math.isfinite(item):
            raise ValueError("a parameter is a finite number")
        if isinstance(item, str) and _is_number(item):
            raise ValueError(f"YAML reads {item} as a text: write it with a point, such as 1.0e-3")
    return value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


class Strict(BaseModel):
    """A frozen record that knows its fields and refuses any other."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Parameter(Strict):
    """A number the generator takes, with its unit and where it comes from."""

    value: Annotated[Value, AfterValidator(_check_value)]
    unit: str
    source: Annotated[str, Field(min_length=1)]
    about: str


class Preset(Strict):
    """How many samples each split has, the parameters of this scale, and where these come from."""

    train: PositiveInt
    validation: NonNegativeInt
    test: NonNegativeInt
    source: str = ""
    parameters: dict[str, Value] = {}

    @property
    def counts(self) -> dict[str, int]:
        """Samples per split."""
        return {split: getattr(self, split) for split in SPLITS}


class Variable(Strict):
    """One array of the data set: the shape of a sample, dtype, unit and how it is normalised.

    The dtype may be that which a parameter names, as entries of the shape may. `axes` names the
    axes of a sample, for other programs; `DataSpec.axes` says where they lie.
    """

    shape: list[StrictInt | str]
    dtype: str
    unit: str
    about: str
    normalise: Literal["global", "per_point"] | None = None
    axes: tuple[str, ...] | None = None


class ResolvedVariable(Variable):
    """A variable whose shape holds integers only, and whose dtype is one."""

    dtype: Annotated[str, AfterValidator(_check_dtype)]
    shape: tuple[PositiveInt, ...]


class Card(Strict):
    """What a reader should know of a data set before using it."""

    title: str
    kind: Literal["simulated", "measured", "derived"]
    licence: str
    about: str
    limitations: list[str]
    deviations: list[str]


class ResolvedSpec(Strict):
    """A data spec with every choice made: which data set, to the byte."""

    name: str
    version: PositiveInt
    study: str
    preset: str
    experiment: str
    generator: str
    axes: str | None = None
    seconds_per_sample: str | None = None
    seed: Seed
    shard_size: PositiveInt
    parameters: dict[str, Value]
    units: dict[str, str] = {}
    counts: dict[Literal["train", "validation", "test"], NonNegativeInt]
    variables: dict[str, ResolvedVariable]
    card: Card

    @property
    def n_samples(self) -> int:
        """Samples of all splits together."""
        return sum(self.counts.values())

    @property
    def fingerprint(self) -> str:
        """SHA-256 over everything that alters the data: not the names of preset or experiment."""
        identity = self.model_dump(
            mode="json", include={"name", "version", "generator", "seed", "parameters", "counts"}
        )
        identity["variables"] = [
            [name, variable.shape, variable.dtype, variable.unit, variable.normalise]
            for name, variable in sorted(self.variables.items())
        ]
        text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


COMMON_FIELDS = {
    "name", "version", "study", "generator", "axes", "seconds_per_sample", "shard_size",
}  # fmt: skip


class DataSpec(Card):
    """A data spec as written in ``data_specs/``: the family of data sets it can make.

    A shape entry is an integer, the name of an integer parameter, or ``NAME+INTEGER``; the name of
    a parameter that is a list stands for its length.

    Functions are named ``module:function``. `generator` takes the first sample, the one after the
    last, a seed and parameters, and returns the arrays of those samples. `axes` takes parameters
    and returns coordinates and unit of each axis that a variable names; `seconds_per_sample` takes
    parameters and a number of workers, and says how long so many take for a sample on this machine,
    the time of the whole over the number of samples [s]; both are optional.
    """

    name: Annotated[str, Field(pattern=r"^[a-z]\w*$")]
    version: PositiveInt
    study: str
    generator: Annotated[str, Field(pattern=FUNCTION)]
    axes: Annotated[str, Field(pattern=FUNCTION)] | None = None
    seconds_per_sample: Annotated[str, Field(pattern=FUNCTION)] | None = None
    seed: Seed
    shard_size: PositiveInt
    parameters: dict[str, Parameter]
    experiments: Annotated[dict[str, dict[str, Value]], Field(min_length=1)]
    presets: Annotated[dict[str, Preset], Field(min_length=1)]
    variables: Annotated[dict[str, Variable], Field(min_length=1)]

    @model_validator(mode="after")
    def _names_agree(self) -> DataSpec:
        for name in self.parameters.keys() & set(SPLITS):
            raise ValueError(f"parameter '{name}' has the name of a split: rename it")
        overrides = {f"experiment '{name}'": values for name, values in self.experiments.items()}
        overrides |= {f"preset '{name}'": p.parameters for name, p in self.presets.items()}
        for where, values in overrides.items():
            for key, value in values.items():
                try:
                    self._parse(key, value)
                except ReproError as error:
                    raise ValueError(f"{where}: {error}") from None
        for name, variable in self.variables.items():
            self._check_variable(name, variable)
        return self

    def _check_variable(self, name: str, variable: Variable) -> None:
        if not name.isidentifier() or name in RESERVED_NAMES:
            raise ValueError(f"a variable cannot be called '{name}'")
        named = self.parameters.get(variable.dtype)
        dtype = _check_dtype(str(named.value) if named else variable.dtype)
        if variable.normalise and np.dtype(dtype).kind != "f":
            raise ValueError(f"variable '{name}' is normalised but {dtype}, not a float")
        if variable.axes is not None and len(variable.axes) != len(variable.shape):
            raise ValueError(
                f"variable '{name}' names {len(variable.axes)} axes, but its shape has "
                f"{len(variable.shape)}: name every axis but that of the samples"
            )
        for entry in variable.shape:
            symbol, plus, more = str(entry).partition("+")
            known = self.parameters.get(symbol)
            is_sum = not plus or more.isdecimal()
            counts = known and type(known.value) in (int, list)
            if isinstance(entry, str) and not (counts and is_sum):
                raise ValueError(
                    f"variable '{name}': shape entry '{entry}' names no integer parameter or list"
                )

    def _parse(self, key: str, value: Value) -> Value:
        if key not in self.parameters:
            raise ReproError(
                f"Data spec '{self.name}' has no parameter '{key}': "
                f"it has {', '.join(self.parameters)}."
            )
        return _convert(key, value, self.parameters[key].value)

    def resolve(
        self,
        preset: str,
        experiment: str | None = None,
        overrides: Mapping[str, Value] | None = None,
        seed: int | None = None,
    ) -> ResolvedSpec:
        """Settle every choice and return the data set that is meant.

        Parameters
        ----------
        preset : str
            The scale: one of `presets`.
        experiment : str, optional
            One of `experiments`; the first if not given.
        overrides : dict, optional
            Parameters, or sample counts (``train``, ``validation``, ``test``), set by hand;
            texts are read as the type of what they replace.
        seed : int, optional
            Instead of the spec's own seed.

        Raises
        ------
        ReproError
            If a name is unknown or a value has the wrong type.
        """
        experiment = next(iter(self.experiments)) if experiment is None else experiment
        scale = self._choose("preset", self.presets, preset)
        counts = scale.counts
        chosen = scale.parameters | self._choose("experiment", self.experiments, experiment)
        values = {name: parameter.value for name, parameter in self.parameters.items()}
        for key, value in {**chosen, **(overrides or {})}.items():
            if key in counts:
                counts[key] = _count(key, value)
            else:
                values[key] = self._parse(key, value)
        return ResolvedSpec(
            **self.model_dump(include=COMMON_FIELDS),
            preset=preset,
            experiment=experiment,
            seed=self.seed if seed is None else _convert_seed(seed),
            parameters=values,
            units={name: parameter.unit for name, parameter in self.parameters.items()},
            counts=counts,
            variables={name: _resolve(name, v, values) for name, v in self.variables.items()},
            card=self.model_dump(include=set(Card.model_fields)),
        )

    def _choose(self, what: str, options: dict, name: str):
        if name not in options:
            raise ReproError(
                f"Data spec '{self.name}' has no {what} '{name}': choose {', '.join(options)}."
            )
        return options[name]


def _resolve(name: str, variable: Variable, values: dict[str, Value]) -> ResolvedVariable:
    shape = []
    for entry in variable.shape:
        symbol, _, more = str(entry).partition("+")
        size = entry if isinstance(entry, int) else _count_of(values[symbol]) + int(more or 0)
        if size < 1:
            raise ReproError(f"Variable '{name}' would have {size} entries where '{entry}' stands.")
        shape.append(size)
    dtype = values.get(variable.dtype, variable.dtype)
    try:
        return ResolvedVariable(**{**variable.model_dump(), "shape": shape, "dtype": dtype})
    except ValidationError:
        raise ReproError(
            f"Variable '{name}' cannot be of the type {dtype}: set {variable.dtype} to a plain one "
            "such as float32 or uint16."
        ) from None


def _count_of(value: int | list) -> int:
    return len(value) if isinstance(value, list) else value


def _convert(key: str, value: Value, example: Value) -> Value:
    """Return ``value`` as the type of ``example``, reading texts."""
    if isinstance(example, list):
        no_list = ReproError(f"'{key}' takes a list such as {example}, not '{value}'.")
        try:
            items = parse_yaml(value) if isinstance(value, str) else value
        except ValueError:
            raise no_list from None
        if not isinstance(items, list) or not example:
            raise no_list
        return [_convert(key, item, example[0]) for item in items]
    kind = type(example)
    wrong = ReproError(f"'{key}' takes {_KINDS[kind]} such as {example}, not '{value}'.")
    if isinstance(value, str) and kind is not str:
        value = _read(value.strip(), kind, wrong)
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind or (kind is float and not math.isfinite(value)):
        raise wrong
    return value


_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


def _read(text: str, kind: type, wrong: ReproError) -> Scalar:
    if kind is bool:
        return {"true": True, "false": False}.get(text.lower(), text)
    try:
        return kind(text)
    except ValueError:
        raise wrong from None


def _count(split: str, value: Value) -> int:
    count = _convert(split, value, 1000)
    if count < (split == "train"):
        raise ReproError(f"'{split}' takes a number of samples, not {count}.")
    return count


def _convert_seed(seed: int) -> int:
    number = _convert("seed", seed, 0)
    if not 0 <= number < 2**63:
        raise ReproError(f"The seed is a whole number from 0 to 2^63 - 1, not {seed}.")
    return number


def load_function(name: str) -> Callable:
    """Return the function called ``module:function``.

    Raises
    ------
    ReproError
        If there is no such module or function, or it is of another package than a study's.
    """
    module, _, function = name.partition(":")
    _refuse_foreign(module)
    try:
        return vars(importlib.import_module(module))[function]
    except (ModuleNotFoundError, KeyError) as error:
        raise ReproError(f"There is no function '{name}': {error}.") from None


def _refuse_foreign(module: str) -> None:
    """Refuse what Python or another installed package brings: a data spec could call anything."""
    top = module.partition(".")[0]
    if top == repro.__name__:
        return
    found = None if top in sys.stdlib_module_names else importlib.util.find_spec(top)
    of_packages = {Path(path) for key, path in sysconfig.get_paths().items() if "lib" in key}
    is_foreign = top in sys.stdlib_module_names or (
        found is not None and of_packages & set(Path(found.origin or "").parents)
    )
    if is_foreign:
        raise ReproError(
            f"A data spec names the function '{module}', which is no study's: only those of "
            "`repro` and of your own folders are called."
        )


def specs_folder() -> Path:
    """Return the folder of data specs: ``$REPRO_DATA_SPECS``, else ``data_specs`` beside us."""
    default = Path(__file__).resolve().parents[2] / "data_specs"
    return Path(os.environ.get("REPRO_DATA_SPECS") or default)


def spec_names() -> list[str]:
    """Return the names of all data specs.

    Raises
    ------
    ReproError
        If there is no folder of data specs.
    """
    folder = specs_folder()
    if not folder.is_dir():
        raise ReproError(
            f"There is no folder {folder}: set REPRO_DATA_SPECS to the folder of the data specs."
        )
    return sorted(path.stem for path in folder.glob("*.yaml"))


def load_spec(name: str) -> DataSpec:
    """Read the data spec of that name.

    Raises
    ------
    ReproError
        If there is none, or if it is not well formed: says which line or key, and why.
    """
    names = spec_names()
    if name not in names:
        raise ReproError(f"There is no data spec '{name}': there is {', '.join(names) or 'none'}.")
    path = specs_folder() / f"{name}.yaml"
    try:
        content = parse_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ReproError(f"Data spec {path} cannot be read: {error.strerror}.") from None
    except ValueError as error:
        raise ReproError(f"Data spec {path} is not valid YAML: {error}.") from None
    try:
        spec = DataSpec.model_validate(content)
    except ValidationError as error:
        raise ReproError(f"Data spec {path}: {_first_fault(error)}.") from None
    if spec.name != name:
        raise ReproError(f"Data spec {path} calls itself '{spec.name}': rename one of the two.")
    return spec


def _first_fault(error: ValidationError) -> str:
    faults = error.errors()
    where = ".".join(str(part) for part in faults[0]["loc"])
    what = faults[0]["msg"].removeprefix("Value error, ").rstrip(".")
    others = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return (f"'{where}': " if where else "") + what + others
