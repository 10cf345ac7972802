"""The report as a reader sees it: opened from the disk in a real browser."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from repro.bench.summary import find_ratios
from repro.reporting.figures import Curve
from repro.reporting.history import read_history
from repro.reporting.report import write_report

pytestmark = pytest.mark.slow

RESULTS = Path(__file__).parents[2] / "results"
WIDTHS = (390, 1280)
OPEN_ALL = "document.querySelectorAll('details').forEach(details => { details.open = true })"


@pytest.fixture(scope="module")
def reports(gallery, bench_row, bench_file):
    folder, entries, studies = gallery
    rows = [bench_row(batch=2**i, marks=["a ceiling varied"]) for i in range(3)]
    timings = {folder / "a.json": bench_file(*rows, bench_row(phase="infer"))}
    reference = {("rods", "real"): Curve("published curve", (1, 2, 30), (0.21, 0.18, 0.124))}
    return {
        "full": write_report(
            entries,
            studies,
            folder / "report.html",
            reference,
            benchmarks=timings,
            ratios=find_ratios([RESULTS]),
            history=read_history(RESULTS),
        ),
        "no records": write_report([], studies, folder / "empty.html"),
    }


@pytest.fixture
def visit(browser, reports):
    """Open a report at some width; at the end, nothing was requested and nothing complained."""
    contexts, requests, complaints = [], [], []

    def open_page(name="full", width=1280, **options):
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: requests.append(request.url))
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(reports[name].as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    known = {path.as_uri() for path in reports.values()}
    assert {url for url in requests if not url.startswith("data:")} <= known
    assert complaints == []


@pytest.mark.parametrize("name", ["full", "no records"])
@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_sticks_out_sideways(visit, name, width):
    # A phone's reader would have to push the page left and right; open details count too.
    page = visit(name, width)
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(overflow) == 0
    page.evaluate(OPEN_ALL)
    assert page.evaluate(overflow) == 0
    clipped = page.evaluate(
        """[...document.querySelectorAll('main *')]
           .filter(e => e.checkVisibility() && !e.closest('thead'))
           .filter(e => e.getBoundingClientRect().right > innerWidth + 1)
           .map(e => e.outerHTML.slice(0, 80))"""
    )
    assert clipped == []


@pytest.mark.parametrize("width", WIDTHS)
def test_every_claim_is_visible_with_word_and_sign(visit, gallery, width):
    # A row hidden at one width is a claim that is not reported.
    _, _, studies = gallery
    page = visit(width=width)
    for study in studies.values():
        for claim in study.claims.claims:
            row = page.locator(f"#claim-{study.name}-{claim.id}")
            assert row.is_visible()
            assert claim.statement in row.inner_text().replace("\u00a0", " ")
            assert row.locator(".outcome").inner_text().strip()[0] in "✓▲▼?○"


def test_figures_are_decoded_and_described(visit):
    # A broken image is an empty box; without a description it is nothing to a blind reader.
    page = visit()
    page.evaluate(OPEN_ALL)
    images = page.locator("img")
    assert images.count() == 10
    page.evaluate("Promise.all([...document.images].map(image => image.decode()))")
    for image in images.all():
        assert image.evaluate("image => image.naturalWidth") > 0
        assert image.is_visible()
        assert len(image.get_attribute("alt")) > 20
    assert page.get_by_text("there is no such file beside it").is_visible()


def test_details_open_by_keyboard(visit):
    # Provenance and commands must be reachable without a mouse.
    page = visit()
    details = page.locator("#claim-rods-mae_real details")
    summary = details.locator("summary")
    assert not details.locator("code").is_visible()
    summary.focus()
    page.keyboard.press("Enter")
    assert details.locator("code").is_visible()
    command = "repro run rods --variant faithful --preset paper --seeds 0,1,2 --out rods"
    assert details.locator("code").text_content() == command


def test_first_tab_offers_to_skip_and_focus_is_seen(visit):
    # Who uses the keyboard has to see where they are.
    page = visit()
    page.keyboard.press("Tab")
    skip = page.locator(".skip")
    assert skip.evaluate("link => link === document.activeElement")
    assert skip.bounding_box()["x"] >= 0
    assert skip.evaluate("link => getComputedStyle(link).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    assert page.evaluate("location.hash") == "#claims"


def test_phone_shows_cards_with_the_heading_of_each_cell(visit):
    # On a phone the column headings are gone: each cell must carry its own.
    page = visit(width=390)
    cell = page.locator("#claim-rods-mae_real td").nth(0)
    assert cell.evaluate("cell => getComputedStyle(cell, '::before').content") == '"Reported"'
    assert page.locator("#claims-rods").evaluate("t => getComputedStyle(t).display") == "block"
    table = visit(width=1280).locator("#claims-rods")
    assert table.evaluate("t => getComputedStyle(t).display") == "table"


CONTRAST = """
(selector) => {
  const canvas = new OffscreenCanvas(1, 1).getContext('2d', {willReadFrequently: true});
  const luminance = (colour) => {
    canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3)
      .map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const page = luminance(getComputedStyle(document.body).backgroundColor);
  return [...document.querySelectorAll(selector)].map(e => {
    const text = luminance(getComputedStyle(e).color);
    return (Math.max(text, page) + 0.05) / (Math.min(text, page) + 0.05);
  });
}
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_stand_out_from_the_page(visit, scheme):
    # WCAG AA asks for a contrast of 4.5.
    page = visit(color_scheme=scheme)
    selector = "body, .outcome, .soft, .reason, .scale, thead th, caption, figcaption, a"
    assert min(page.evaluate(CONTRAST, selector)) >= 4.5
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 26)"
    assert dark == (scheme == "dark")


@pytest.mark.parametrize("width", WIDTHS)
def test_page_passes_axe(visit, width):
    # What axe finds keeps people out who use a screen reader or a keyboard.
    page = visit(width=width)
    page.evaluate(OPEN_ALL)
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="axe is not installed"
    )
    found = axe.Axe().run(page, options={"resultTypes": ["violations"]})
    assert found.violations_count == 0, found.generate_report()


def test_no_figure_is_white_on_a_dark_page(visit):
    # A white figure dazzles; in print there is paper again.
    page = visit(color_scheme="dark")
    figure = page.locator("#rods figure img").first

    def brightness():
        image = Image.open(io.BytesIO(figure.screenshot())).convert("L")
        return np.median(np.asarray(image))

    assert brightness() < 60
    page.emulate_media(media="print", color_scheme="dark")
    assert brightness() > 200


def test_first_screen_shows_what_was_found_against_what_is_reported(visit, gallery):
    # Who opens the page must not scroll to learn how it went.
    page = visit()
    plot = page.locator(".forest")
    assert plot.bounding_box()["y"] < 500
    assert plot.locator("li").count() == 10
    band, mark = (
        plot.locator(".track b").first,
        plot.locator("li", has_text="0.1242 ±").locator("em"),
    )
    inside, at = band.bounding_box(), mark.bounding_box()
    assert inside["x"] < at["x"] < at["x"] + at["width"] < inside["x"] + inside["width"]


def test_print_opens_the_runs_and_drops_the_navigation(visit):
    # On paper nothing can be clicked open.
    page = visit()
    closed = page.locator("#strain details.run").last.locator("h4").first
    assert not closed.is_visible()
    page.emulate_media(media="print")
    assert closed.is_visible()
    assert not page.locator("nav").is_visible()
    assert page.locator("#claim-rods-mae_real .reason").is_visible()
