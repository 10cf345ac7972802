import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest

from repro.errors import ReproError
from repro.reporting import tables
from repro.reporting.tables import numbered_reasons, select
from repro.reporting.terminal import claims_text


@pytest.fixture(scope="module")
def rows(gallery):
    folder, entries, studies = gallery
    return [row for s in studies.values() for row in tables.claim_rows(s, entries, folder)]


@pytest.fixture(scope="module")
def by_claim(rows):
    return {(row.study, row.claim): row for row in rows}


def test_every_claim_has_a_row_with_its_outcome(rows, by_claim):
    # A claim that vanished from the table could not be missed by a reader.
    assert len(rows) == 15
    assert {key[1]: row.status for key, row in by_claim.items() if key[0] == "rods"} == {
        "mae_real": "holds",
        "mae_imaginary": "better",
        "mae_24": "falls short",
        "r2_top": "open",
        "order_of_r2": "holds",
        "plateau": "holds",
        "mae_rough": "not run",
    }
    assert by_claim["rods", "mae_real"].verdict == "reproduced"
    assert by_claim["strain", "mae_xx_0"].word == "open at desk"


def test_row_shows_both_parts_of_the_interval_and_our_own_variant(by_claim):
    # 0.124 beside a number from minutes of two cores must be seen at one look.
    row = by_claim["rods", "mae_real"]
    assert row.behind == "paper; 1000 films ± 9.5×10⁻⁵; 3 seeds ± 0.0017"
    assert (row.ours_text, row.ours_scale) == ("0.1010", "desk, 1 seed")
    assert row.of_seeds > row.of_samples > 0
    assert row.power["recognised"] > 0.9
    assert row.scales == {"paper": "holds", "desk": "falls short"}


def test_row_names_the_record_and_command_behind_its_number(by_claim):
    # A number whose origin cannot be found is worth nothing.
    row = by_claim["rods", "mae_real"]
    assert row.records == ["rods/faithful/record.json"]
    assert row.commands[0].startswith("repro run rods --variant faithful --preset paper")
    assert (row.scale, row.n_seeds) == ("paper", 3)
    assert row.value_text == "0.1242 ± 0.0017"


def test_each_experiment_is_held_against_its_own_record(by_claim):
    # Six experiments of one study must not be mixed up.
    for noise in (0, 10, 20, 30, 40, 50):
        row = by_claim["strain", f"mae_xx_{noise}"]
        assert row.records == [f"strain/noise_{noise}/record.json"]
        assert row.value == pytest.approx(0.0019 + noise / 1e5)


def test_claim_without_record_says_how_to_run_it(by_claim):
    # 'Not run' without the command that would run it leaves the reader stuck.
    row = by_claim["rods", "mae_rough"]
    assert row.records == []
    assert row.commands == [
        "repro run rods --variant faithful --preset paper --experiment rough --seeds 0,1,2"
    ]


@pytest.mark.parametrize(
    ("claim", "text"),
    [
        ("plateau", "in words, read as ≤ 0.01"),
        ("order_of_r2", "r2/c/* > r2/small_atoms/*"),
        ("mae_24", "0.2"),
    ],
)
def test_papers_side_by_kind(by_claim, claim, text):
    # A bound shown as a number, or our reading as the paper's number, would mislead.
    assert by_claim["rods", claim].reported_text == text


def test_record_with_more_seeds_is_the_source(gallery):
    # Two records of one run: the verdict rests on the one with more seeds, so must the link.
    folder, entries, studies = gallery
    path, record = next(e for e in entries if e[1].preset == "paper")
    single = record.model_copy(
        update={
            "seeds": [0],
            "metrics": {
                name: m.model_copy(update={"values": {"0": m.values["0"]}})
                for name, m in record.metrics.items()
            },
        }
    )
    for order in ([(folder / "one.json", single), (path, record)], [(path, record)] * 2):
        row = tables.claim_rows(studies["rods"], order, folder)[0]
        assert row.records == ["rods/faithful/record.json"]


def test_json_rows_are_json_with_numbers(rows):
    # Scripts read numbers, not formatted text.
    read = json.loads(json.dumps(tables.json_rows(rows)))
    assert read[0]["reported"] == 0.124
    assert read[0]["interval"][0] < read[0]["value"] < read[0]["interval"][1]
    assert read[0]["power"]["recognised"] > 0.9


def test_readme_table_is_put_between_the_markers(tmp_path, rows):
    # Text around the markers belongs to the author; the table is ours, and stable.
    readme = tmp_path / "README.md"
    readme.write_text(f"# Title\n\n{tables.BEGIN}\nold\n{tables.END}\n\nEnd.\n", encoding="utf-8")
    text = tables.readme_text(readme, rows, {"rods": "Rods"})
    assert text.startswith(f"# Title\n\n{tables.BEGIN}\n**Rods**")
    assert text.endswith(f"{tables.END}\n\nEnd.\n")
    assert "old" not in text
    assert "0.1242 ± 0.0017 (paper; 1000 films" in text
    assert "| 0.1010 (desk, 1 seed) | ✓ reproduced |" in text
    readme.write_text(text, encoding="utf-8")
    assert tables.readme_text(readme, rows, {"rods": "Rods"}) == text


@pytest.mark.parametrize(
    "text",
    ["nothing", tables.BEGIN, f"{tables.END}\n{tables.BEGIN}", 2 * (tables.BEGIN + tables.END)],
    ids=["none", "no end", "wrong order", "twice"],
)
def test_readme_without_its_markers_is_refused(tmp_path, rows, text):
    # A guess where the table belongs could destroy the README.
    readme = tmp_path / "README.md"
    readme.write_text(text)
    with pytest.raises(ReproError, match="claims:begin"):
        tables.readme_text(readme, rows)


def test_missing_readme_is_named(tmp_path, rows):
    # A traceback would not tell which file.
    with pytest.raises(ReproError, match=r"README\.md"):
        tables.readme_text(tmp_path / "README.md", rows)


def test_markdown_cannot_be_broken_by_texts(rows):
    # A pipe or newline in a statement would shift every column; * would turn to italics.
    assert tables.markdown_cell("a|b\n<i>*c*") == r"a\|b \<i\>\*c\*"
    lines = [ln for ln in tables.markdown_table(rows).splitlines() if ln.startswith("| ")]
    assert all(line.replace(r"\|", "").count("|") == 7 for line in lines)


def test_claims_that_nothing_was_run_for_are_counted_where_they_are_many(rows):
    untold = replace(rows[0], status="not run", word="not run", ours_scale="", statement="untold")
    few = tables.markdown_table([*rows, untold])
    many = tables.markdown_table([*rows, *([untold] * 20)])
    assert few.count("untold") == 1
    assert "untold" not in many
    before = [
        r for r in rows if (r.study, r.status) == (untold.study, "not run") and not r.ours_scale
    ]
    assert f"{20 + len(before)} more claims" in many


def test_markdown_without_claims():
    # An empty README section would look like a mistake.
    assert tables.markdown_table([]) == "No claims yet."


def test_terminal_shows_every_claim_with_its_outcome_within_100_columns(rows):
    # Log files carry words and signs only, and wrap what is wider.
    text = claims_text(rows)
    lines = text.splitlines()
    assert max(map(len, lines)) <= 100
    for row in rows:
        line = next(line for line in lines if line.startswith(f"{row.claim} "))
        assert f"{row.symbol} {row.word} ({numbered_reasons(rows)[row.reason]})" in line


def test_terminal_states_each_reason_once(rows):
    # A reason repeated for twenty claims buries the claims.
    text = " ".join(claims_text(rows).split())
    for reason, i in numbered_reasons(rows).items():
        assert text.count(f"({i}) {reason}") == 1


def test_terminal_takes_texts_literally(rows):
    # '[/]' in a statement is text, not rich markup, which would raise.
    assert "[/bold] [red]" in claims_text([replace(rows[0], reported_text="[/bold] [red]")])


def test_what_a_smaller_scale_changes_is_told_once_a_study(rows):
    # Twenty differences in every row would bury the results.
    (note,) = tables.scale_notes([row for row in rows if row.study == "strain"])
    assert note.startswith("desk differs from the paper's run")
    differences = {
        "data.parameters.n_x 288 instead of 512": "n_x 288 instead of 512",
        "layers_4: data.counts.train 9 instead of 90": "train 9 instead of 90",
        "networks.*.recipe.epochs 2 instead of 30": "epochs 2 instead of 30",
        "networks.step_*.parameters 1 instead of 2": "parameters of step_* 1 instead of 2",
    }
    assert {text: tables.shortened(text) for text in differences} == differences


def test_claims_are_selected_by_study_and_outcome(rows):
    # Forty claims are too many when one question is asked.
    assert {r.study for r in select(rows, study="rods")} == {"rods"}
    some = select(rows, study="rods", status="reproduced")
    assert [row.claim for row in some] == ["mae_real", "order_of_r2", "plateau"]
    assert select(rows) == rows
    assert claims_text(select(rows, study="rods", status="open")).count("paper:") == 1
    with pytest.raises(ReproError, match="strain"):
        select(rows, study="strian")
    with pytest.raises(ReproError, match="falls short"):
        select(rows, status="unlike")


def test_summary_has_every_metric_of_every_record(gallery):
    # summary.csv is what others load: a dropped metric would go unnoticed.
    folder, entries, _ = gallery
    read = list(csv.DictReader(io.StringIO(tables.summary_text(entries, folder))))
    assert tuple(read[0]) == tables.SUMMARY_COLUMNS
    assert len(read) == sum(max(1, len(record.metrics)) for _, record in entries)
    row = next(r for r in read if r["metric"] == "mae/real" and r["preset"] == "paper")
    assert float(row["mean"]) == pytest.approx(np.mean([0.1242, 0.1238, 0.1245]))
    assert float(row["interval_low"]) < float(row["smallest"])
    assert row["record"] == "rods/faithful/record.json"
    failed = next(r for r in read if r["status"] == "failed")
    assert failed["metric"] == failed["mean"] == ""


def test_summary_does_not_depend_on_the_order_of_records(gallery):
    # A folder listing's order would make the committed file change for nothing.
    folder, entries, _ = gallery
    assert tables.summary_text(entries, folder) == tables.summary_text(entries[::-1], folder)
