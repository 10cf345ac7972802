"""A run's result as a JSON file, the only thing that claims, comparisons and reports read."""

from __future__ import annotations

import hashlib
import json
import math
import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from repro.errors import ReproError
from repro.evaluation.metrics import Better
from repro.files import read_json, write_text
from repro.training.ways import ONE_BY_ONE

SCHEMA_VERSION: Final = 2
SEAL = "seal"  # the entry of a record's file that stands for all others
MAKE_AGAIN = "make the record again with 'repro evaluate'"
# Of a path that is not quoted nobody knows where its last part ends: at a space, we say.
_END = r"=/\\'\"<>|:;(){}\[\]"
_NAME = rf"[^\s,{_END}](?:[^\n{_END}]*[^\s{_END}])?"
ABSOLUTE_PATH = re.compile(
    r"(?<![^\s='\"(,\[{:;<|`])(?:file://[\w.-]*)?(?:/|~[\w.-]*/|[A-Za-z]:[/\\]|\\\\)"
    rf"(?:{_NAME}[/\\]+)+([^\s,{_END}]*)"
)

Seed = Annotated[str, Field(pattern=r"^\d+$")]


class Part(BaseModel):
    """A part of a record: immutable, and no key but its own."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


class SampledMetric(Part):
    """A metric over resamples of the test split.

    Parameters
    ----------
    unit : str
        What was drawn, such as ``"film"``.
    split : str
        The split that they are of.
    n_units, n_samples : int
        How many there are, and samples of them.
    is_share : bool
        Whether the metric is a share of right answers.
    deviations : list of float
        By how much the metric of each resample exceeds that of the samples as they are, mean over
        seeds. Metrics of one split share the resamples.
    """

    unit: str
    split: str
    n_units: int
    n_samples: int
    is_share: bool = False
    deviations: list[float]


class RecordedMetric(Part):
    """A metric with its value for each seed, in ``unit``."""

    unit: str
    better: Better
    definition: str
    values: dict[Seed, float]
    sampled: SampledMetric | None = None


class FigureEntry(Part):
    """A figure's file, relative to the record, what it shows and the command that draws it."""

    file: str
    caption: str
    command: str


class DataEntry(Part):
    """The data set of a run: its spec, its content and what was asked of the generator."""

    name: str
    version: int
    fingerprint: str
    checksum: str
    counts: dict[str, int]
    parameters: dict[str, Any]


class NetworkEntry(Part):
    """A network's parameters, forward FLOPs per sample and recipe."""

    parameters: int
    flops: float | None = None
    recipe: dict[str, Any]


class Hashes(Part):
    """Five hashes that explain why a number moved."""

    code: str
    metrics: str
    data: str
    configuration: str
    environment: str


class Carried(Part):
    """An earlier code that gives the same numbers, so that the record counts as the later one's.

    Parameters
    ----------
    code : str
        The hash of the earlier code.
    shown_by : str
        The run whose numbers both codes gave alike.
    """

    code: str
    shown_by: str


class Timing(Part):
    """Time of a stage [s] and its rate [samples/s]."""

    wall_s: float
    device_s: float | None = None
    samples_per_s: float | None = None


class Flags(Part):
    """The settings in force, as the libraries resolved them.

    ``tf32``: a GPU rounds the factors of float32 products to ten bits of mantissa. ``steps``: how
    those of the training were taken, see `repro.training.ways`. ``variables``: those of the shell
    that reach into the libraries' arithmetic.
    """

    backend: str
    precision: str
    xla: bool
    determinism: bool
    threads: int
    world_size: int
    tf32: bool = False
    steps: str = ONE_BY_ONE
    variables: dict[str, str] = {}


class Environment(Part):
    """Machine and software of a run, without anything that names its owner."""

    python: str
    packages: dict[str, str]
    processor: str
    cores: int
    memory_gb: float
    gpu: str | None = None
    flags: Flags


class Record(Part):
    """One run of a study: its metrics for each seed and all that explains them.

    What it says of the paper's claims is no part of it, since that also takes the claims and other
    records: see `repro.evaluation.outcomes`.

    ``chosen_networks`` says which networks alone were trained; it is empty where all were. The run
    itself was made by the code of the first entry of ``carried``, if there is one, and otherwise by
    that of ``hashes.code``. ``accepted_because`` says why it is a baseline record
    although it failed a gate.

    ``date`` is the day of the evaluation, in UTC, and ``commit`` that of the code, or the package's
    version where it does not run from a checkout; they decide nothing. ``data_command`` makes the
    file that ``command`` takes with ``--data``: a built data set, or the published archive, whose
    SHA-256 stands among the data's parameters. All three are empty where nobody knows.
    """

    schema_version: Literal[2] = SCHEMA_VERSION
    study: str
    variant: str
    preset: str
    experiment: str
    seeds: list[int]
    status: Literal["ok", "failed"]
    reason: str = ""
    command: str
    data_command: str = ""
    date: str = ""
    commit: str = ""
    metrics: dict[str, RecordedMetric] = {}
    curves: dict[str, dict[Seed, dict[str, list[float]]]] = {}
    figures: dict[str, FigureEntry] = {}
    chosen_networks: list[str] = []
    data: DataEntry | None = None
    networks: dict[str, NetworkEntry] = {}
    hashes: Hashes
    timings: dict[str, Timing] = {}
    environment: Environment
    deviations: list[str] = []
    carried: list[Carried] = []
    accepted_because: str = ""

    @model_validator(mode="after")
    def _values_belong_to_seeds(self) -> Record:
        known = {str(seed) for seed in self.seeds}
        if len(known) < len(self.seeds):
            raise ValueError(f"seeds has one twice: {self.seeds}")
        for name, metric in self.metrics.items():
            foreign = sorted(set(metric.values) - known)
            if foreign:
                raise ValueError(f"metric {name} has a value for seed {foreign[0]}, not in seeds")
        return self

    @model_validator(mode="after")
    def _curves_are_whole(self) -> Record:
        for task, seeds in self.curves.items():
            for seed, columns in seeds.items():
                where = f"the curves of {task}, seed {seed},"
                if len({len(values) for values in columns.values()}) > 1:
                    raise ValueError(f"{where} differ in length")
                if not all(math.isfinite(x) for values in columns.values() for x in values):
                    raise ValueError(f"{where} hold a value that is not finite")
        return self

    @property
    def in_float32(self) -> bool:
        """Whether every network was trained in float32, as published ones are unless they say."""
        return self.environment.flags.precision == "float32"

    @property
    def label(self) -> str:
        """What was run: study, variant, preset and experiment."""
        return f"{self.study} {self.variant} {self.preset} {self.experiment}"


def read_record(path: Path) -> Record:
    """Read a record.

    Raises
    ------
    ReproError
        If there is no such file, it is not JSON, a field is wrong, it was altered since it was
        written, or a newer version of the suite wrote it.
    """
    path = Path(path)
    content = read_json(path, MAKE_AGAIN)
    version = content.get("schema_version") if isinstance(content, dict) else None
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise ReproError(
            f"{path} has schema version {version}, and this version of repro reads up to "
            f"{SCHEMA_VERSION}: read it with a newer repro."
        )
    seal = content.pop(SEAL, None) if isinstance(content, dict) else None
    try:
        record = Record.model_validate(content)
    except ValidationError as error:
        raise ReproError(f"{path} is not a record: {first_problem(error)}.") from None
    if seal is None:
        raise ReproError(
            f"{path} has no seal, so that nobody can tell whether it is as it was made: "
            f"{MAKE_AGAIN}."
        )
    if seal != seal_of(content):
        raise ReproError(f"{path} was altered since it was written: {MAKE_AGAIN}.")
    return record


def write_record(record: Record, path: Path) -> Path:
    """Write a record, whole or not at all; absolute paths in its texts become file names.

    Raises
    ------
    ReproError
        If the file cannot be written; what stood there before is untouched.
    """
    path = Path(path)
    content = without_paths(json.loads(record.model_dump_json()))
    content[SEAL] = seal_of(content)
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    return path


def seal_of(content: dict[str, Any]) -> str:
    """Return the SHA-256 of all that a record says, however its file is laid out."""
    said = {key: value for key, value in content.items() if key != SEAL}
    text = json.dumps(said, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def without_paths(content: Any) -> Any:
    """Return texts, lists and dicts with each absolute path cut down to its last part.

    A path tells the user's name and how the machine is laid out, and is of no use elsewhere.
    """
    if isinstance(content, str):
        return ABSOLUTE_PATH.sub(lambda match: match[1] or ".", content)
    if isinstance(content, list):
        return [without_paths(item) for item in content]
    if isinstance(content, dict):
        return {key: without_paths(value) for key, value in content.items()}
    return content


def first_problem(error: ValidationError) -> str:
    """Say in a phrase what is wrong first: the field, the complaint and what stands there."""
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"])) or "the whole"
    if first["type"] == "missing":
        return f"{where} is missing"
    if first["type"] == "extra_forbidden":
        return f"{where} is not a known field"
    complaint = first["msg"].removeprefix("Value error, ")
    found = first["input"]
    shown = f" (found {found!r})" if isinstance(found, str | int | float | bool) else ""
    return f"{where}: {complaint[0].lower()}{complaint[1:]}{shown}"
