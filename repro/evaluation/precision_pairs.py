"""Whether a precision other than the paper's moves a claim's numbers, as a pair of records shows.

The pair is of one run, made once in float32 and once in that precision, at any scale.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import Any

from repro.evaluation.claims import Claim
from repro.evaluation.estimates import estimate, lacking
from repro.evaluation.records import Record

SHARE_OF_MARGIN = 1 / 3  # that a precision may move a value by


def shown_harmless(claim: Claim, record: Record, records: Sequence[Record]) -> str:
    """Say by how little a record's precision moves a claim's value; empty if no pair shows it.

    Parameters
    ----------
    claim : Claim
        The claim.
    record : Record
        A record in another precision than float32.
    records : sequence of Record
        Records of the study, among them the pair.
    """
    precision, is_tf32 = precision_of(record)
    for one, twin in product(records, records):
        is_alike = (one.variant, precision_of(one)) == (record.variant, (precision, is_tf32))
        if is_alike and is_pair(one, twin):
            moved = moved_by(claim, one, twin)
            if moved < SHARE_OF_MARGIN * claim.margin:
                name = "TF32" if is_tf32 else precision
                return (
                    f"in {name}, which at {one.preset} moves it by {moved:.2g} against float32, "
                    f"less than a third of the margin"
                )
    return ""


def precision_of(record: Record) -> tuple[str, bool]:
    """Return a record's precision, and whether a GPU rounded the factors of float32 to TF32.

    In 16 bits it does not matter that a GPU rounds the few factors left in float32: TF32 keeps at
    least as many bits of them, 10, as bfloat16 (7) and float16 (10) keep of all others.
    """
    flags = record.environment.flags
    return flags.precision, flags.tf32 and flags.precision == "float32"


def is_pair(one: Record, twin: Record) -> bool:
    """Whether two records are of one run but for the precision, the second in float32."""
    return precision_of(twin) == ("float32", False) and identity(one) == identity(twin)


def identity(record: Record) -> Any:
    """Return what a run is, whatever its precision."""
    networks = {
        name: {**network.recipe, "precision": None} for name, network in record.networks.items()
    }
    data = record.data.checksum if record.data else None
    run = (record.status, record.variant, record.preset, record.experiment, tuple(record.seeds))
    return (*run, data, networks)


def moved_by(claim: Claim, one: Record, twin: Record) -> float:
    """Return the largest difference of a claim's values in two records; infinite without them."""
    used = [dict.fromkeys(claim.experiments, record) for record in (one, twin)]
    if any(lacking(claim, records) for records in used):
        return math.inf
    return max(
        abs(estimate(claim, c, used[0], ()).value - estimate(claim, c, used[1], ()).value)
        for c in claim.conditions
    )
