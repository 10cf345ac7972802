"""A metric whose name is nearly right is guessed, wherever one is named."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from repro.errors import ReproError
from repro.evaluation.estimates import lacking
from repro.evaluation.gates import check_gates
from repro.evaluation.paper_runs import PaperStage
from repro.evaluation.records import read_record
from repro.reporting.verification import verification
from repro.study import get_study, studies

RESULTS = Path(__file__).parents[2] / "results"
RECORD = read_record(RESULTS / "records" / "mamba-faithful-desk" / "record.json")


def test_a_gate_and_a_claim_say_what_may_be_meant():
    gates = get_study("mamba").gates
    gate = next(g for g in gates.gates if g.record == "mamba-faithful-desk" and g.metric)
    wrong = gate.metric.replace("a", "aa", 1)
    asked = gates.model_copy(update={"gates": [gate.model_copy(update={"metric": wrong})]})
    (result,) = check_gates("mamba", asked, {gate.record: RECORD})
    assert not result.holds
    assert f"did you mean {gate.metric}?" in result.said
    claim = next(c for c in get_study("mamba").claims.claims if c.id == "field_mae_real")
    typed = claim.model_copy(update={"metric": "validaton_mae/real"})
    said = lacking(typed, {claim.experiment: RECORD})
    assert "did you mean validation_mae/real?" in said


def test_a_measured_figure_says_what_may_be_meant(tmp_path):
    kept = tmp_path / "benchmarks" / "ratios"
    kept.mkdir(parents=True)
    shutil.copy(RESULTS / "benchmarks" / "ratios" / "epyc.json", kept)
    place = ["benchmarks/ratios/epyc.json", "benchmarks", "test_refinement_from_nominal"]
    stage = {"stage": "x", "count": 1, "unit": "films"}
    figure = PaperStage(**stage, seconds_from=[*place, "seconds_per_films"])
    with pytest.raises(ReproError, match="did you mean seconds_per_film"):
        figure.seconds_of_one(tmp_path)
    right = PaperStage(**stage, seconds_from=[*place, "seconds_per_film"])
    assert right.seconds_of_one(tmp_path) == 0.01086


@pytest.mark.parametrize("name", ["validation_mae/real", "validaton_mae/real"])
def test_who_names_a_metric_for_a_claim_is_led_to_the_claim(name, tmp_path):
    with pytest.raises(ReproError, match="Did you mean mamba/field_mae_real"):
        verification(f"mamba/{name}", tmp_path)


def test_no_claim_on_a_record_that_lacks_its_metric_is_thought_a_slip():
    # Records of some networks lack the metrics of others; a guess would lead astray.
    records = [read_record(path) for path in RESULTS.glob("records/*/record.json")]
    for study in studies().values():
        for claim in study.claims.claims:
            for record in (r for r in records if r.study == study.name):
                assert "did you mean" not in lacking(claim, {record.experiment: record})
