"""In what a record differs from the run that a claim is about, field by field."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import MISSING, fields
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from repro.datasets.spec import SPLITS
from repro.errors import ReproError
from repro.evaluation.claims import Claim, Plain
from repro.evaluation.records import Record
from repro.training.recipe import Recipe

if TYPE_CHECKING:
    from repro.datasets.spec import DataSpec

# What the authors used unless they say; another format has to be shown harmless.
PRECISION = {"environment.flags.precision": "float32", "environment.flags.tf32": False}
OF_PRECISION = (*PRECISION, "networks.*.recipe.precision")
RECIPE_DEFAULTS = {
    f.name: list(f.default) if isinstance(f.default, tuple) else f.default
    for f in fields(Recipe)
    if f.default is not MISSING and f.name != "jit_compile"  # which moves no number
}


def data_protocol(spec: DataSpec, preset: str, experiment: str) -> dict[str, Any]:
    """Return what a record says of the data set of a preset and experiment, by place.

    Parameters that are empty by default name a file, and are left out.
    """
    resolved = spec.resolve(preset, experiment)
    parameters = {
        f"data.parameters.{name}": value
        for name, value in resolved.parameters.items()
        if spec.parameters[name].value != ""
    }
    counts = {f"data.counts.{split}": n for split, n in resolved.counts.items()}
    return {"data.name": spec.name} | parameters | counts


def check_protocol(claim: Claim, parameters: Collection[str] = ()) -> None:
    """Refuse a protocol that names what no record has.

    Parameters
    ----------
    claim : Claim
        The claim.
    parameters : collection of str
        The data parameters there are.

    Raises
    ------
    ReproError
        Naming the claim and the place.
    """
    known = {f"data.parameters.{name}" for name in parameters}
    known |= {f"data.counts.{split}" for split in SPLITS} | {"data.name", *PRECISION}
    of_network = {"parameters", *(f"recipe.{f.name}" for f in fields(Recipe))}
    for place in claim.protocol:
        head, _, rest = place.partition(".")
        network, _, of = rest.partition(".")
        if place not in known and not (head == "networks" and network and of in of_network):
            raise ReproError(f"the claim {claim.id} asks for protocol.{place}, which no record has")


def asked(claim: Claim, experiment: str) -> dict[str, Any]:
    """Return what a record must be for a verdict, by place.

    What the claim's protocol does not name of a recipe must be as `Recipe` has it by default.
    """
    of_data = claim.data_protocol.get(experiment, {})
    stated = {place.rpartition(".")[2] for place in claim.protocol if ".recipe." in place}
    by_default = {
        f"networks.*.recipe.{name}": value
        for name, value in RECIPE_DEFAULTS.items()
        if stated and name not in stated
    }
    return {"preset": claim.preset} | PRECISION | of_data | by_default | claim.protocol


def differing_fields(claim: Claim, experiment: str, record: Record) -> dict[str, str]:
    """Return in what a record differs from the run that a claim is about.

    Returns
    -------
    dict
        By place in the record, ``PLACE X instead of Y``.
    """
    return differences(record, asked(claim, experiment))


def differences(record: Record, wanted: Mapping[str, Plain]) -> dict[str, str]:
    """Return in what a record differs from what is wanted, by place in the record.

    Parameters
    ----------
    record : Record
        The record.
    wanted : mapping
        What must stand at each place; ``*`` in a name stands for any characters.
    """
    content, differing = record.model_dump(exclude={"metrics", "curves"}), {}
    for network in content["networks"].values():  # which leave younger fields out at their default
        network["recipe"] = RECIPE_DEFAULTS | network["recipe"]
    for place, value in wanted.items():
        found = list(look_up(content, place.split("."))) or ["nothing"]
        unlike = dict.fromkeys(f"{place} {f} instead of {value}" for f in found if f != value)
        if unlike:
            differing[place] = ", ".join(unlike)
    return differing


def look_up(content: Any, keys: list[str]) -> Iterator[Any]:
    """Yield what stands at a place of a record; ``*`` in a key stands for any characters."""
    if not keys:
        yield content
    elif isinstance(content, dict):
        key, *rest = keys
        names = [key] if key in content else [n for n in content if fnmatchcase(n, key)]
        for name in names:
            yield from look_up(content[name], rest)
