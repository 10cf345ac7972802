import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from repro.errors import ReproError
from repro.evaluation.claims import Claims
from repro.reporting.embedding import data_uri, image_size
from repro.reporting.figures import Curve
from repro.reporting.opening import summarise, tally
from repro.reporting.report import render, write_report
from repro.reporting.tables import claim_rows
from repro.reporting.titles import run_titles
from repro.reporting.views import (
    group_name,
    metric_groups,
    n_claimed,
    run_order,
    timing_text,
)
from repro.runs.baselines import report


class Outline(HTMLParser):
    """Headings, ids, links and unclosed elements of a page."""

    VOID = ("meta", "link", "img", "br", "wbr")

    def __init__(self, text):
        super().__init__()
        self.levels, self.ids, self.links, self.open = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        if re.fullmatch("h[1-6]", tag):
            self.levels.append(int(tag[1]))
        if "id" in attributes:
            self.ids.append(attributes["id"])
        if tag == "a":
            self.links.append(attributes["href"])
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="session")
def text(gallery):
    folder, entries, studies = gallery
    reference = {("rods", "real"): Curve("published curve", (1, 2, 30), (0.21, 0.18, 0.124))}
    return render(entries, studies, folder, reference)


@pytest.mark.parametrize("which", ["all", "no records", "no studies"])
def test_page_is_sound_html(gallery, text, which):
    # A heading skipped, an id used twice or an element left open breaks navigation.
    folder, _, studies = gallery
    empty = {"no records": studies, "no studies": {}}
    outline = Outline(text if which == "all" else render([], empty[which], folder))
    assert outline.open == []
    assert outline.levels[0] == 1
    steps = zip(outline.levels, outline.levels[1:], strict=False)
    assert all(after - before <= 1 for before, after in steps)
    assert len(set(outline.ids)) == len(outline.ids)
    assert {link[1:] for link in outline.links if link.startswith("#")} <= set(outline.ids)


def test_page_asks_for_nothing_from_outside(text):
    # The page is opened from a disk or a mail, without a network.
    assert not re.search(r"""(src|srcset|poster)=["'](?!data:)""", text)
    assert not re.search(r"@import|url\(", re.sub(r'src="data:[^"]*"', "", text))
    assert "<script" not in text
    assert "<link" not in text.replace('<link rel="icon" href="data:,">', "")


def test_same_records_give_the_same_page(gallery, text):
    # The committed page would otherwise change at every build.
    folder, entries, studies = gallery
    reference = {("rods", "real"): Curve("published curve", (1, 2, 30), (0.21, 0.18, 0.124))}
    assert render(entries[::-1], studies, folder, reference) == text


def test_every_claim_and_record_is_in_the_page(gallery, text):
    # What is left out cannot be checked.
    folder, entries, studies = gallery
    for study in studies.values():
        for claim in study.claims.claims:
            assert f'id="claim-{study.name}-{claim.id}"' in text
    for path, _ in entries:
        assert f'data-record="{path.relative_to(folder).as_posix()}"' in text


def test_every_measured_number_names_its_record(text):
    # A number without a record cannot be traced; the paths are relative, so the folder can move.
    found = re.findall(r'data-record="([^"]*)"', text)
    assert len(found) > 60
    for listed in ('<table class="metrics"', '<dl class="facts"'):
        assert text.count(f"{listed} data-record=") == text.count(listed) > 10
    assert all(path.endswith("record.json") and not path.startswith(("/", "..")) for path in found)
    row = text[text.index('id="claim-rods-mae_real"') :]
    assert '<span data-record="rods/faithful/record.json">0.1242 ± 0.0017</span>' in row
    assert "/tmp" not in text


def test_missing_damaged_and_foreign_figures_are_stated(gallery, tmp_path):
    # One bad file must neither stop the report nor disappear from it.
    folder, entries, studies = gallery
    path, record = next(e for e in entries if e[1].preset == "paper")
    (tmp_path / "half.svg").write_bytes(b'<svg viewBox="0 0 9 9"><path')
    png = (path.parent / "figures" / "worst.png").read_bytes()
    (tmp_path / "half.png").write_bytes(png[: len(png) // 2])
    (tmp_path / "table.pdf").write_bytes(b"%PDF")
    entry = record.figures["heights"]
    named = {
        name: entry.model_copy(update={"file": file})
        for name, file in {
            "gone": "figures/gone.svg",
            "half": "half.svg",
            "torn": "half.png",
            "paper": "table.pdf",
            "outside": "../../secret.svg",
        }.items()
    }
    changed = record.model_copy(update={"figures": named})
    page = render([(tmp_path / "record.json", changed)], studies, folder)
    assert page.count("Figure missing.") == 5
    for phrase in (
        "names figures/gone.svg, but there is no such file",
        "half.svg is damaged",
        "half.png is damaged",
        "table.pdf is neither SVG nor PNG",
        "secret.svg outside its own folder",
    ):
        assert phrase in page


def test_figures_are_embedded_as_they_are(gallery, text):
    # The page must show the very file that the record names.
    folder, _, _ = gallery
    for name in ("cells.svg", "worst.png"):
        content = (folder / "rods" / "faithful" / "figures" / name).read_bytes()
        assert f'src="{data_uri(content, name[-4:])}"' in text
        width, height = image_size(content, name[-4:])
        assert width > height > 100


def test_a_metric_is_defined_where_it_first_appears(gallery):
    # Several runs of a study fill the page with the same sentences otherwise.
    folder, entries, studies = gallery
    path, record = next(e for e in entries if e[1].preset == "paper")
    key, metric = next(iter(record.metrics.items()))
    defined = metric.model_copy(update={"definition": "Said once and for all."})
    told = record.model_copy(update={"metrics": {key: defined}})
    other = told.model_copy(update={"variant": "improved"})
    page = render([(path, told), (path.parent / "other.json", other)], studies, folder)
    assert page.count("Said once and for all.") == 1
    # So does a baseline that is the same beside every variant.
    assert "has the same value: 1." in page
    moved = metric.model_copy(update={"values": dict.fromkeys(metric.values, 0.5)})
    assert "has the same value" not in render(
        [
            (path, told),
            (path.parent / "other.json", other.model_copy(update={"metrics": {key: moved}})),
        ],
        studies,
        folder,
    )
    redefined = defined.model_copy(update={"definition": "Said otherwise."})
    other = other.model_copy(update={"metrics": {key: redefined}})
    page = render([(path, told), (path.parent / "other.json", other)], studies, folder)
    assert page.count("Said once and for all.") == page.count("Said otherwise.") == 1


def test_failed_run_and_claims_without_a_run_give_their_reasons(text):
    # Silence about a failure would read as success.
    section = text[text.index('id="not-run"') : text.index('id="environment"')]
    assert "The loss is no longer finite at epoch 2: choose a smaller learning rate." in section
    assert "no record of the experiment rough" in section
    assert "repro run rheed --variant faithful --preset paper" in re.sub("</?span>", "", section)
    assert "<strong>This run failed.</strong>" in text


def test_texts_of_records_cannot_become_markup(gallery):
    # A caption or reason with HTML in it would run in the reader's browser.
    folder, entries, studies = gallery
    evil = '"><script>alert(1)</script>'
    path, record = next(e for e in entries if e[1].preset == "paper")
    figure = record.figures["heights"].model_copy(update={"caption": evil, "command": evil})
    changed = record.model_copy(
        update={
            "command": evil,
            "figures": {evil: figure},
            "deviations": [evil],
            "networks": {evil: record.networks["real"]},
            "curves": {evil: record.curves["real"]},
            "experiment": evil,
        }
    )
    study = replace(studies["rods"], title=evil)
    page = render([(path, changed)], {"rods": study}, folder)
    assert "<script" not in page
    assert page.count("&lt;script&gt;") > 8


def test_empty_results_say_so(gallery):
    # The first page a newcomer builds has no records yet.
    folder, _, studies = gallery
    page = render([], studies, folder)
    assert "no records yet" in page
    assert "No claim has a verdict yet" in page
    assert page.count("No run of this study is on record.") == len(studies)
    assert "no machine to describe" in page
    assert "There are no studies" in render([], {}, folder)


def test_summary_counts_agree_with_the_rows(gallery):
    # The opening is what most readers take away.
    folder, entries, studies = gallery
    rows = [row for s in studies.values() for row in claim_rows(s, entries, folder)]
    summary = summarise(len(studies), rows, [record for _, record in entries])
    assert sum(summary.tally.values()) == len(rows) == 15
    assert summary.tally == tally(rows)
    opening, findings = summary.found
    (scales,) = summary.behind
    assert "4 published systems" in opening
    said = "of 6 claims 3 hold, 1 is better, 1 falls short and 1 is open."
    assert f"At preset paper, {said}" in findings
    assert "5 of them have a verdict: 3 reproduced, 1 better and 1 below." in findings
    assert "At preset desk, of 6 claims 6 are open." in findings
    assert "3 claims have no run yet" in findings
    assert "10 runs: 1 at preset smoke" in scales
    assert "1 run failed" in scales


def test_no_two_runs_have_the_same_title(gallery):
    # Two sets of numbers under one title contradict each other.
    _, entries, _ = gallery
    path, record = next(e for e in entries if e[1].preset == "paper")

    def flags(**changes):
        environment = record.environment
        changed = environment.flags.model_copy(update=changes)
        return record.model_copy(
            update={"environment": environment.model_copy(update={"flags": changed})}
        )

    judged = record.model_copy(update={"command": "repro evaluate run --data new_films.npz"})
    alike = [record, flags(precision="mixed_bfloat16"), judged, flags(backend="jax"), record]
    made = [(path.parent / str(i) / "record.json", r) for i, r in enumerate(alike)]
    titles = run_titles(made)
    assert len(set(titles.values())) == len(titles) == 5
    assert "mixed_bfloat16" in titles[made[1][0]]
    assert "judged by new_films.npz" in titles[made[2][0]]
    assert "jax" in titles[made[3][0]]
    assert all(title.startswith("faithful, paper, twelve_layers") for title in titles.values())


def test_smoke_runs_are_folded_away(gallery, text):
    # A check that everything works is no result.
    section = text[text.index('id="domains"') : text.index('id="rheed"')]
    assert section.index('<details class="smoke">') < section.index('<details class="run"')
    assert (
        '<details class="smoke">' not in text[text.index('id="rods"') : text.index('id="strain"')]
    )


def test_stage_without_samples_has_no_rate(gallery):
    # "0 samples/s" says that something stood still.
    _, entries, _ = gallery
    timing = next(r for _, r in entries if r.preset == "paper").timings["train"]
    assert "samples/s" in timing_text(timing)
    for rate in (0.0, None):
        assert "samples/s" not in timing_text(timing.model_copy(update={"samples_per_s": rate}))


def test_metrics_are_grouped_and_none_is_lost(gallery):
    # Sixty metrics in one list are not read; one left out is not seen.
    _, entries, studies = gallery
    record = next(record for _, record in entries if record.study == "strain")
    groups = metric_groups(record, studies["strain"].claims.claims)
    names = [g.name for g in groups]
    assert names == ["Baseline py4d", "Centre of mass", "Correlation", "Behind the claims"]
    assert sum(len(group.metrics) for group in groups) == len(record.metrics) == 61
    assert group_name("loss") == "Others"


def test_of_runs_that_are_many_and_alike_only_metrics_behind_claims_are_shown(gallery):
    # All of them would make the page too large to send; the record has them, and the page says so.
    _, entries, studies = gallery
    record = next(record for _, record in entries if record.study == "strain")
    claims = studies["strain"].claims.claims
    (group,) = metric_groups(record, claims, with_others=False)
    assert group.name == "Behind the claims"
    assert len(group.metrics) == n_claimed(record, claims) < len(record.metrics)


def test_metric_name_is_matched_literally(gallery):
    # Brackets in a metric's name are no pattern; only a final * is.
    _, entries, studies = gallery
    record = next(record for _, record in entries if record.preset == "paper")
    content = studies["rods"].claims.model_dump()
    content["claims"] = [content["claims"][0] | {"metric": "mae[1]"}]
    some = record.metrics["mae/real"]
    record = record.model_copy(update={"metrics": {"mae[1]": some, "mae1": some}})
    groups = metric_groups(record, Claims.model_validate(content).claims)
    assert {g.name: [m.key for m in g.metrics] for g in groups} == {
        "Others": ["mae1"],
        "Behind the claims": ["mae[1]"],
    }


def test_runs_stand_as_published_first_and_in_order_of_number(gallery):
    # noise_10 before noise_2, or a smoke run on top, would mislead.
    _, entries, _ = gallery
    record = entries[0][1]
    wanted = [
        ("faithful", "paper", "noise_2"),
        ("faithful", "paper", "noise_10"),
        ("faithful", "desk", "noise_2"),
        ("faithful", "smoke", "2 noise"),
        ("improved", "paper", "noise_2"),
    ]
    keys = ("variant", "preset", "experiment")
    made = [record.model_copy(update=dict(zip(keys, w, strict=True))) for w in wanted]
    made.reverse()
    ordered = sorted(made, key=run_order)
    assert [(r.variant, r.preset, r.experiment) for r in ordered] == wanted


def test_variants_of_one_scale_stand_side_by_side(text):
    # An improvement is shown only against a run of the same preset and experiment.
    section = text[text.index('id="rods"') : text.index('id="strain"')]
    assert section.count("Variants side by side.") == 1
    table = section[section.index("Variants side by side.") :].split("</table>")[0]
    assert "twelve_layers, preset desk" in table
    assert '"rods/improved/record.json">0.1010<' in table
    assert '"rods/faithful-desk/record.json">0.1310<' in table


def test_experiments_of_one_variant_and_preset_are_drawn_together(text):
    # A dependence on the experiment, such as one on thickness, must come from one recipe.
    rods, strain = text[text.index('id="rods"') :].split('id="strain"')
    assert "Across experiments" in strain
    assert "Score against thickness. Variant faithful, preset" in strain
    assert "Across experiments" not in rods  # its runs differ in variant, preset or both


def test_report_replaces_the_old_one_only_when_whole(gallery, tmp_path):
    # A study with broken claims must not cost the page that was there.
    _, entries, studies = gallery
    out = tmp_path / "pages" / "report.html"
    assert write_report(entries, studies, out) == out
    before = out.read_bytes()

    class Broken:
        name, title, deviations = "broken", "Broken", ()
        published_curves = comparison_figures = None

        @property
        def claims(self):
            raise ReproError("The claims are wrong.")

    with pytest.raises(ReproError, match="claims are wrong"):
        write_report(entries, {"broken": Broken()}, out)
    assert out.read_bytes() == before
    assert [path.name for path in out.parent.iterdir()] == ["report.html"]


def test_figures_of_further_experiments_are_named_and_not_in_the_page(gallery):
    # Twenty runs with five figures each make a page that no one opens.
    folder, entries, studies = gallery
    path, record = next(e for e in entries if e[1].preset == "paper")
    further = record.model_copy(update={"experiment": "rough"})
    pages = [render([(path, r)], {"rods": studies["rods"]}, folder) for r in (record, further)]
    figures = [page.count("<img") for page in pages]
    assert figures[0] - figures[1] == 3 + len(record.curves)
    assert "validation loss from" in pages[1], "curves are told in words"
    assert "figures/heights.svg" in pages[1].replace("<wbr>", "")
    assert "Figure missing" in pages[1], "what is missing is told all the same"


def test_page_of_the_committed_records_is_small_enough_to_send(tmp_path):
    # A page of 14 MB is neither mailed nor opened on a phone. Every number names its record by the
    # path from the page, which is short where the page is made beside the results.
    latest = shutil.ignore_patterns("latest")  # of `make reproduce`
    shutil.copytree(Path(__file__).parents[2] / "results", tmp_path / "results", ignore=latest)
    page = report([tmp_path / "results"], tmp_path / "report.html")
    assert page.stat().st_size < 3_000_000
    content = page.read_text(encoding="utf-8")
    assert "Figure missing" not in content
    pictures = re.findall(r'<img src="(data:[^"]+)"', content)
    assert pictures
    in_sections = [re.findall(r'<img src="(data:[^"]+)"', s) for s in content.split("<section")]
    assert all(len(found) == len(set(found)) for found in in_sections), "one picture, once"
