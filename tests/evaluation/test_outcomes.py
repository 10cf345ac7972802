import numpy as np
import pytest

from repro.errors import ReproError
from repro.evaluation.estimates import (
    Sample,
    independent_answers,
    jeffreys_interval,
    metric_values,
)
from repro.evaluation.outcomes import best_record, judge, outcomes_by_scale

TIGHT = [-0.0005, 0.0, 0.0005]


def around(centre, shifts=TIGHT):
    return [centre + shift for shift in shifts]


@pytest.mark.parametrize(
    ("centre", "better", "status", "verdict"),
    [
        (0.124, "lower", "holds", "reproduced"),
        (0.126, "lower", "holds", "reproduced"),
        (0.110, "lower", "better", "better"),
        (0.140, "lower", "falls short", "below"),
        (0.110, "higher", "falls short", "below"),
        (0.140, "higher", "better", "better"),
        (0.130, "lower", "open", ""),
    ],
)
def test_number_is_judged_by_where_the_whole_interval_lies(
    make_claim, make_record, centre, better, status, verdict
):
    outcome = judge(make_claim(better=better), [make_record({"mae": around(centre)})])
    assert (outcome.status, outcome.verdict) == (status, verdict)
    assert outcome.value == pytest.approx(centre)
    assert outcome.interval[0] < centre < outcome.interval[1]
    assert outcome.n_seeds == 3
    assert [record.label for record in outcome.sources] == ["mamba faithful paper layers_12"]


def test_scattered_seeds_cannot_pass_by_being_vague(make_claim, make_record):
    outcome = judge(make_claim(), [make_record({"mae": [0.114, 0.124, 0.134]})])
    assert outcome.status == "open"
    assert "leaves open" in outcome.reason


def test_few_test_samples_cannot_pass_by_being_vague(make_claim, make_record):
    record = make_record({"mae": around(0.124)}, reach=0.02, n_units=100)
    outcome = judge(make_claim(), [record])
    assert outcome.status == "open"
    assert outcome.of_samples.n_units == 100
    assert "more test films needed" in outcome.reason


def test_both_parts_of_the_interval_are_added_in_quadrature(make_claim, make_record):
    claim = make_claim(kind="bound", reported=None, limit=0.5)
    outcome = judge(claim, [make_record({"mae": [0.1, 0.2, 0.3]}, reach=0.4)])
    samples, seeds = outcome.of_samples, outcome.of_seeds
    assert seeds.half_width == pytest.approx(4.3027 * 0.1 / 3**0.5, rel=1e-4)
    assert samples.above == pytest.approx(0.38)
    width = (samples.above**2 + seeds.half_width**2) ** 0.5
    assert outcome.interval[1] == pytest.approx(0.2 + width)


def test_a_number_of_one_run_is_predicted_and_not_only_averaged(make_claim, make_record):
    # One more run of the paper's own would scatter as much as one of ours.
    record = make_record({"mae": around(0.124)})
    one, many = (judge(make_claim(reported_runs=n), [record]) for n in (1, 1000))
    ratio = one.of_seeds.half_width / many.of_seeds.half_width
    assert ratio == pytest.approx((1 / 3 + 1) ** 0.5 / (1 / 3 + 0.001) ** 0.5)


def test_open_says_how_many_more_seeds_would_close_it(make_claim, make_record):
    values = [0.495, 0.49, 0.485]
    claim = make_claim(kind="bound", reported=None, limit=0.4995)
    outcome = judge(claim, [make_record({"mae": values})])
    assert outcome.status == "open"
    assert outcome.reason.endswith("; 1 more seed needed")
    settled = judge(claim, [make_record({"mae": [*values, 0.49]})])
    assert settled.status == "holds"


def test_one_seed_without_a_lender_stays_open(make_claim, make_record):
    outcome = judge(make_claim(), [make_record({"mae": [0.124]})])
    assert (outcome.status, outcome.value, outcome.interval) == ("open", 0.124, None)
    assert outcome.reason.endswith("2 more seeds needed")


def test_one_seed_borrows_the_spread_of_another_record_and_says_so(make_claim, make_record):
    lender = make_record({"mae": around(0.3)}, experiment="layers_4", preset="desk")
    outcome = judge(make_claim(), [make_record({"mae": [0.124]}), lender])
    assert outcome.status == "holds"
    assert outcome.of_seeds.borrowed_from == "mamba faithful desk layers_4"
    assert "1 seed, spread borrowed from mamba faithful desk layers_4" in outcome.notes
    # Three standard errors on either side, of a run of ours beside one of the paper's.
    low, high = outcome.interval
    assert (high - low) / 2 == pytest.approx(3 * 0.0005 * 2**0.5, rel=1e-3)


def test_the_nearest_record_lends_and_never_one_of_other_networks(make_claim, make_record):
    ours = make_record({"mae": [0.124]})
    near = make_record({"mae": around(0.2)}, preset="desk")
    far = make_record({"mae": around(0.3)}, experiment="layers_4")
    smoke = make_record({"mae": around(0.3)}, preset="smoke")
    other = make_record({"mae": around(0.1)}, variant="improved")
    assert "desk layers_12" in judge(make_claim(), [ours, far, near]).of_seeds.borrowed_from
    assert judge(make_claim(), [ours, smoke, other]).of_seeds is None


def test_a_record_that_is_only_lent_from_is_not_judged(make_claim, make_record):
    lender = make_record({"mae": around(0.3)})
    one = make_record({"mae": [0.124]}, preset="desk")
    outcome = judge(make_claim(), [one], [lender])
    assert (outcome.preset, outcome.value) == ("desk", 0.124)
    assert outcome.of_seeds.borrowed_from == lender.label


def test_a_smaller_scale_has_an_outcome_but_no_verdict(make_claim, make_record):
    outcome = judge(make_claim(), [make_record({"mae": around(0.124)}, preset="desk")])
    assert (outcome.status, outcome.verdict, outcome.word) == ("holds", "", "holds at desk")
    assert outcome.differs["preset"] == "preset desk instead of paper"


def test_every_scale_has_its_outcome_and_the_largest_speaks(make_claim, make_record):
    records = [
        make_record({"mae": around(0.2)}, preset="desk"),
        make_record({"mae": around(0.124)}),
        make_record({"mae": around(0.124)}, preset="smoke"),
    ]
    found = outcomes_by_scale(make_claim(), records)
    assert {p: o.status for p, o in found.items()} == {"paper": "holds", "desk": "falls short"}
    assert judge(make_claim(), records).preset == "paper"


def test_smoke_says_nothing_and_another_variant_never_stands_in(make_claim, make_record):
    smoke = judge(make_claim(), [make_record({"mae": around(0.124)}, preset="smoke")])
    other = judge(make_claim(), [make_record({"mae": around(0.124)}, variant="improved")])
    assert (smoke.status, other.status) == ("not run", "not run")
    assert "smoke" in smoke.reason


def test_a_claim_about_one_data_set_is_not_judged_on_another(make_claim, make_record):
    # What a network reaches on a stand-in says nothing of a number of the published data.
    record = make_record({"mae": around(0.124)})
    published = make_claim(protocol={"data.name": "published"})
    assert judge(make_claim(protocol={"data.name": record.data.name}), [record]).status == "holds"
    outcome = judge(published, [record])
    assert outcome.status == "not run"
    assert "published" in outcome.reason


@pytest.mark.parametrize(
    ("protocol", "place", "said"),
    [
        ({"data.counts.train": 100000}, "data.counts.train", "90000 instead of 100000"),
        ({"networks.*.recipe.epochs": 40}, "networks.*.recipe.epochs", "30 instead of 40"),
        ({"networks.r*.recipe.loss": "mse"}, "networks.r*.recipe.loss", "mae instead of mse"),
        ({"data.parameters.n_bins": 16}, "data.parameters.n_bins", "nothing instead of 16"),
    ],
)
def test_a_protocol_that_differs_has_an_outcome_and_no_verdict(
    make_claim, make_record, protocol, place, said
):
    outcome = judge(make_claim(protocol=protocol), [make_record({"mae": around(0.124)})])
    assert (outcome.status, outcome.verdict) == ("holds", "")
    assert outcome.differs == {place: f"{place} {said}"}


def test_what_a_protocol_does_not_name_of_a_recipe_must_be_at_its_default(make_claim, make_record):
    record = make_record({"mae": around(0.124)})
    claim = make_claim(protocol={"networks.*.recipe.epochs": 30})
    assert judge(claim, [record]).verdict == "reproduced"
    networks = {
        name: network.model_copy(update={"recipe": {**network.recipe, "clip_norm": 1.0}})
        for name, network in record.networks.items()
    }
    clipped = record.model_copy(update={"networks": networks})
    assert judge(claim, [clipped]).differs.keys() == {"networks.*.recipe.clip_norm"}


def in_bfloat16(record, tf32=False):
    update = {"precision": "mixed_bfloat16", "tf32": tf32}
    flags = record.environment.flags.model_copy(update=update)
    environment = record.environment.model_copy(update={"flags": flags})
    return record.model_copy(update={"environment": environment})


def test_a_precision_counts_as_the_papers_only_where_a_pair_shows_it_harmless(
    make_claim, make_record
):
    paper = in_bfloat16(make_record({"mae": around(0.124)}))
    assert judge(make_claim(), [paper]).differs.keys() == {"environment.flags.precision"}
    twin = make_record({"mae": around(0.38)}, preset="desk")
    for moved, verdict in ((0.001, "reproduced"), (0.003, "")):
        other = in_bfloat16(make_record({"mae": around(0.38 + moved)}, preset="desk"))
        outcome = judge(make_claim(), [paper, twin, other])
        assert outcome.verdict == verdict, moved
        assert any("mixed_bfloat16" in note for note in outcome.notes) == bool(verdict)


def test_a_pair_in_bfloat16_speaks_for_a_gpu_that_rounds_the_rest_to_tf32(make_claim, make_record):
    # A processor made the pair, which has no TF32; it keeps more bits than bfloat16 does.
    on_gpu = in_bfloat16(make_record({"mae": around(0.124)}), tf32=True)
    twin = make_record({"mae": around(0.38)}, preset="desk")
    other = in_bfloat16(make_record({"mae": around(0.381)}, preset="desk"))
    outcome = judge(make_claim(), [on_gpu, twin, other])
    assert outcome.verdict == "reproduced"
    assert "mixed_bfloat16" in outcome.notes[-1]


def test_what_was_not_run_says_why(make_claim, make_record):
    failed = make_record({}, status="failed", reason="the loss is not finite")
    other = make_record({"mae": around(0.124)}, experiment="rough")
    lacking = make_record({"r2": around(0.9)})
    assert "layers_12" in judge(make_claim(), []).reason
    assert "layers_12" in judge(make_claim(), [other]).reason
    assert "failed: the loss is not finite" in judge(make_claim(), [failed]).reason
    assert "has no metric mae" in judge(make_claim(), [lacking]).reason
    for records in ([], [other], [failed], [lacking]):
        assert judge(make_claim(), records).status == "not run"


def test_a_record_that_does_not_tell_of_its_samples_stays_open(make_claim, make_record):
    record = make_record({"mae": around(0.124)})
    metric = record.metrics["mae"].model_copy(update={"sampled": None})
    record = record.model_copy(update={"metrics": {"mae": metric}})
    assert judge(make_claim(), [record]).status == "open"
    of_training = make_claim(without_samples="it is a property of the training")
    assert judge(of_training, [record]).status == "holds"


def test_a_metric_that_is_no_number_does_not_hold(make_claim, make_record):
    outcome = judge(make_claim(), [make_record({"mae": [0.124, float("nan"), 0.124]})])
    assert (outcome.status, outcome.value) == ("falls short", None)


@pytest.mark.parametrize(
    ("better", "centre", "status"),
    [
        ("lower", 0.4, "holds"),
        ("lower", 0.6, "falls short"),
        ("lower", 0.5003, "open"),
        ("higher", 0.6, "holds"),
        ("higher", 0.4, "falls short"),
    ],
)
def test_bound(make_claim, make_record, better, centre, status):
    claim = make_claim(kind="bound", reported=None, limit=0.5, better=better)
    assert judge(claim, [make_record({"mae": around(centre)})]).status == status


@pytest.mark.parametrize(
    ("thin", "status"), [(0.9, "holds"), (0.5, "falls short"), (0.7001, "open")]
)
def test_a_bound_on_several_metrics_holds_where_each_does(make_claim, make_record, thin, status):
    fields = {"kind": "bound", "metric": "", "each": ["100_A", "200_A"], "better": "higher"}
    claim = make_claim(**fields, reported=0.8, margin=0.1)
    outcome = judge(claim, [make_record({"100_A": around(thin), "200_A": around(0.95)})])
    assert outcome.status == status
    assert outcome.value == pytest.approx(thin)


def test_shares_of_right_answers_have_a_binomial_interval(make_claim, make_record):
    # Forty of forty right is not 1 ± 0, which is what resamples say.
    claim = make_claim(kind="bound", reported=0.95, margin=0.01, better="higher")
    record = make_record({"mae": [1.0, 1.0, 1.0]}, n_units=40, is_share=True)
    outcome = judge(claim, [record])
    assert outcome.status == "open"
    assert outcome.interval == pytest.approx((0.9388, 1.0), abs=1e-3)
    assert jeffreys_interval(0.5, 100) == pytest.approx((0.4031, 0.5969), abs=1e-3)


def test_lines_of_a_column_count_as_far_as_they_err_apart(make_record):
    # Ten columns of ten lines: as ten answers if a column's lines err together, as 100 if not.
    metric = make_record({"mae": [0.8]}, n_units=10).metrics["mae"].sampled
    sampled = metric.model_copy(update={"n_samples": 100})
    for spread, n in ((0.8 * 0.2 / 10, 10), (0.8 * 0.2 / 50, 50), (1e-6, 100), (1, 10)):
        deviations = spread**0.5 * np.array([-1.0, 1.0])
        assert independent_answers(0.8, deviations, sampled) == pytest.approx(n)
    assert independent_answers(1.0, np.zeros(5), sampled) == 10


@pytest.mark.parametrize(
    ("c", "small", "status"), [(0.9, 0.7, "holds"), (0.7, 0.9, "falls short"), (0.7, 0.7, "open")]
)
def test_order_within_one_record(make_claim, make_record, c, small, status):
    claim = make_claim(kind="order", order=["r2/c", "r2/small_atoms"])
    metrics = {"r2/c": around(c), "r2/small_atoms": around(small, [0.0005, 0.0, -0.0005])}
    outcome = judge(claim, [make_record(metrics)])
    assert outcome.status == status
    assert outcome.value == pytest.approx(c - small)


def test_order_pairs_seeds_and_samples_so_a_spread_they_share_does_not_hide_it(
    make_claim, make_record
):
    shared = [-0.2, 0.0, 0.2]
    metrics = {"r2/c": around(0.71, shared), "r2/small_atoms": around(0.70, shared)}
    claim = make_claim(kind="order", order=list(metrics))
    assert judge(claim, [make_record(metrics, reach=0.3)]).status == "holds"


def test_order_needs_every_neighbour_and_the_minimum_difference(make_claim, make_record):
    metrics = {"a": around(0.9), "b": around(0.8), "c": around(0.75)}
    records, order = [make_record(metrics)], list(metrics)
    assert judge(make_claim(kind="order", order=order), records).status == "holds"
    stricter = judge(make_claim(kind="order", order=order, minimum_difference=0.07), records)
    assert stricter.status == "falls short"
    assert "b exceeds c" in stricter.reason


def test_order_across_experiments_takes_each_metric_from_its_own_record(make_claim, make_record):
    claim = make_claim(kind="order", order=["layers_4:r2/c", "r2/c", "layers_24:r2/c"])
    values = {"layers_4": 0.99, "layers_12": 0.9, "layers_24": 0.7}
    records = [make_record({"r2/c": around(v)}, experiment=e) for e, v in values.items()]
    outcome = judge(claim, records)
    assert outcome.status == "holds"
    assert outcome.value == pytest.approx(0.09)
    assert len(outcome.sources) == 3
    assert "layers_24" in judge(claim, records[:2]).reason


def test_order_across_experiments_is_judged_at_one_scale(make_claim, make_record):
    claim = make_claim(kind="order", order=["layers_4:r2/c", "r2/c"])
    desk = make_record({"r2/c": around(0.99)}, experiment="layers_4", preset="desk")
    paper = make_record({"r2/c": around(0.9)})
    assert judge(claim, [desk, paper]).status == "not run"
    both = judge(claim, [desk, paper, make_record({"r2/c": around(0.8)}, preset="desk")])
    assert (both.word, both.value) == ("holds at desk", pytest.approx(0.19))
    assert "layers_4: preset desk instead of paper" in both.differs.values()


def test_a_name_that_ends_in_a_star_is_the_mean_of_all_that_match(make_record):
    record = make_record({"r2/c/01": [0.8, 0.9], "r2/c/02": [0.6], "r2/cx": [0.0, 0.0]})
    assert metric_values(record, "r2/c/*") == {0: pytest.approx(0.7)}
    assert metric_values(record, "r2/d/*") == {}


def test_the_record_that_differs_least_speaks(make_claim, make_record):
    claim = make_claim(protocol={"networks.*.recipe.epochs": 30})
    good = make_record({"mae": around(0.124)})
    networks = {
        name: network.model_copy(update={"recipe": {"epochs": 3}})
        for name, network in good.networks.items()
    }
    short = make_record({"mae": around(0.2)}).model_copy(update={"networks": networks})
    for records in ([good, short], [short, good], [good, in_bfloat16(good)]):
        assert best_record(claim, "layers_12", records, "paper") is good


def test_records_of_two_studies_are_refused(make_claim, make_record):
    records = [make_record({"mae": [0.1]}), make_record({"mae": [0.1]}, study="strain_ae")]
    with pytest.raises(ReproError, match="its own study"):
        judge(make_claim(), records)


def test_seeds_that_agree_have_no_spread_at_all():
    # Not the 1e-16 that rounding of their mean leaves, which a table would show.
    assert Sample({0: 0.998, 1: 0.998, 2: 0.998}).spread == 0
    assert np.isnan(Sample({0: 0.998}).spread)
