from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

import repro.studies
from repro.errors import ReproError
from repro.evaluation.claims import Paper, load_claims

CLAIM_FILES = sorted(Path(repro.studies.__path__[0]).glob("*/claims.yaml"))
PAPER = {"title": "T", "authors": ["A"], "venue": "V", "year": 2024}
NUMBER = {
    "id": "mae",
    "statement": "The MAE is 0.1.",
    "where": "Table 1",
    "kind": "number",
    "metric": "mae",
    "reported": 0.1,
    "better": "lower",
    "margin": 0.01,
    "margin_reason": "one digit is printed",
    "experiment": "first",
}


def write(path, claims, **more):
    path.write_text(yaml.safe_dump({"paper": PAPER, "claims": claims, **more}))
    return path


@pytest.mark.parametrize("path", CLAIM_FILES, ids=lambda path: path.parent.name)
def test_every_study_states_its_claims_in_full(path):
    claims = load_claims(path)
    assert claims.paper.authors
    assert all(claim.statement.endswith(".") and claim.where for claim in claims.claims)


def test_claims_are_read_as_written(tmp_path):
    claim = load_claims(write(tmp_path / "claims.yaml", [NUMBER])).claims[0]
    assert (claim.reported, claim.margin, claim.seeds, claim.preset) == (0.1, 0.01, 3, "paper")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"margin": None}, "margin"),
        ({"margin": 0}, "margin"),
        ({"margin": -0.1}, "margin"),
        ({"margin_reason": ""}, "margin_reason"),
        ({"reported": None}, "reported"),
        ({"reported": float("nan")}, "reported"),
        ({"metric": ""}, "metric"),
        ({"seeds": 0}, "seeds"),
        ({"kind": "guess"}, "kind"),
        ({"id": "a b"}, "id"),
        ({"margn": 1}, "margn is not a known field"),
        ({"kind": "order"}, "order"),
        ({"kind": "bound", "limit": 0.1}, "either reported or limit"),
        ({"kind": "bound", "each": ["a", "b"]}, "either metric or each"),
        ({"each": ["a", "b"]}, "neither order nor each"),
        ({"expected_spread": {"seeds": 0.1}}, "expected_spread.reason"),
    ],
)
def test_an_incomplete_or_wrong_claim_is_named(tmp_path, change, said):
    path = write(tmp_path / "claims.yaml", [NUMBER | change])
    with pytest.raises(ReproError, match=said) as error:
        load_claims(path)
    assert "\n" not in str(error.value)


def test_a_number_must_say_which_way_is_better(tmp_path):
    claim = {key: value for key, value in NUMBER.items() if key != "better"}
    with pytest.raises(ReproError, match="better"):
        load_claims(write(tmp_path / "claims.yaml", [claim]))


def test_a_claim_id_used_twice_is_refused(tmp_path):
    with pytest.raises(ReproError, match="mae is used 2 times"):
        load_claims(write(tmp_path / "claims.yaml", [NUMBER, NUMBER]))


@pytest.mark.parametrize("url", ["javascript:alert(1)", "data:text/html,x", "https://a b"])
def test_what_is_no_address_of_a_page_becomes_no_link(url):
    with pytest.raises(ValidationError, match="url"):
        Paper.model_validate(PAPER | {"url": url})


def test_a_key_that_stands_twice_is_refused(tmp_path):
    # The second `reported` counted, and nobody saw the first.
    (tmp_path / "claims.yaml").write_text("claims:\n- id: a\n  reported: 1\n  reported: 2\n")
    with pytest.raises(ReproError, match="'reported' stands twice"):
        load_claims(tmp_path / "claims.yaml")


@pytest.mark.parametrize("text", ["", "- 1", "a: [", "paper: {}\nclaims: []", "\x00"])
def test_a_file_that_is_no_claims_file_is_named_in_one_line(tmp_path, text):
    path = tmp_path / "claims.yaml"
    path.write_text(text)
    with pytest.raises(ReproError, match=r"claims\.yaml") as error:
        load_claims(path)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ReproError, match="Cannot read the claims"):
        load_claims(tmp_path / "claims.yaml")


@pytest.mark.parametrize(("better", "threshold"), [("lower", 0.12), ("higher", 0.08)])
def test_the_margin_of_a_bound_is_slack_in_its_favour(make_claim, better, threshold):
    claim = make_claim(kind="bound", reported=0.1, margin=0.02, better=better)
    assert claim.threshold == pytest.approx(threshold)


def test_conditions_of_a_number_a_bound_and_an_order(make_claim):
    (number,) = make_claim().conditions
    assert (number.floor, number.ceiling) == pytest.approx((0.118, 0.130))
    assert (number.as_reported, number.far) == pytest.approx((0.124, 0.136))
    (bound,) = make_claim(kind="bound", better="higher", reported=0.8, margin=0.1).conditions
    assert (bound.floor, bound.as_reported, bound.far) == pytest.approx((0.7, 0.8, 0.6))
    (words,) = make_claim(kind="bound", reported=None, limit=0.5, margin=0.1).conditions
    assert (words.ceiling, words.as_reported, words.far) == pytest.approx((0.5, 0.4, 0.6))
    fields = {"kind": "order", "order": ["a", "b", "c"], "minimum_difference": 0.1, "margin": 0.05}
    first, second = make_claim(**fields).conditions
    assert (first.metrics, second.metrics) == (("a", "b"), ("b", "c"))
    assert (first.floor, first.as_reported, first.far) == pytest.approx((0.1, 0.15, 0.05))


def test_a_claim_cannot_be_altered_after_it_is_read(make_claim):
    with pytest.raises(ValidationError, match="frozen"):
        make_claim().margin = 1.0
