"""The growers' page, served by a process of its own and used in a real browser."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from matplotlib import colormaps
from PIL import Image

from repro.datasets.store import Dataset
from repro.errors import NotPossibleHere, ReproError
from repro.runs.folder import DATA_FILE
from repro.studies.rheed_translator.page import app, markup
from repro.studies.rheed_translator.page.predict import Reading
from repro.studies.rheed_translator.page.readings import Row
from repro.studies.rheed_translator.page.server import ADDRESS, find_spec, serve_translator

pytestmark = pytest.mark.slow

SERVER = Path(__file__).with_name("serve_small.py")
WIDTHS = (390, 1280)
needs_streamlit = pytest.mark.skipif(
    find_spec("streamlit") is None, reason="streamlit is not installed"
)


def film(level: float) -> np.ndarray:
    """Return an image whose mean is `level`, from dark to bright, (64, 96)."""
    ramp = np.linspace(-1, 1, 96) * min(level, 1 - level)
    return np.tile(level + ramp, (64, 1))


def png(path: Path, values: np.ndarray) -> Path:
    Image.fromarray(np.rint(values * 255).astype(np.uint8)).save(path)
    return path


def start(kind: str, port: int = 0, **variables: str) -> subprocess.Popen:
    command = [sys.executable, str(SERVER), kind, str(port)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    variables = os.environ | {"PYTHONWARNINGS": "ignore"} | variables
    return subprocess.Popen(command, env=variables, **pipes)


def address(server: subprocess.Popen) -> str:
    line = server.stdout.readline()
    found = re.search(r"http://127\.0\.0\.1:\d+", line)
    assert found, line + server.stderr.read()
    return found[0]


def test_the_users_own_streamlit_does_not_move_the_page(served):
    # With baseUrlPath in ~/.streamlit/config.toml the printed address answered 404.
    with urllib.request.urlopen(served, timeout=10) as answer:
        assert answer.status == 200


@pytest.mark.parametrize(
    ("origin", "may_talk"),
    [("http://localhost:9000", True), ("http://127.0.0.1:9", True), ("http://evil.example", False)],
)
def test_a_tunnel_by_another_port_may_talk_and_a_foreign_site_may_not(served, origin, may_talk):
    host = served.removeprefix("http://")
    request = (
        f"GET /_stcore/stream HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\n"
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: streamlit\r\n\r\n"
    )
    name, _, port = host.partition(":")
    with socket.create_connection((name, int(port)), timeout=20) as connection:
        connection.sendall(request.encode())
        status = connection.recv(64).split()[1]
    assert (status == b"101") == may_talk


@pytest.fixture(scope="module", params=["real"])
def served(request, tmp_path_factory):
    """The page, beside a configuration of streamlit of the user's own."""
    pytest.importorskip("streamlit", reason="streamlit is not installed")
    home = tmp_path_factory.mktemp("home")
    (home / ".streamlit").mkdir()
    settings = '[server]\nbaseUrlPath = "lab"\nenableCORS = false\nenableXsrfProtection = false\n'
    (home / ".streamlit" / "config.toml").write_text(settings)
    server = start(request.param, HOME=str(home))
    try:
        yield address(server)
    finally:
        server.kill()
        server.communicate()


@pytest.fixture(scope="module")
def context(browser):
    """What all visits share: programs of the page that the browser keeps."""
    made = browser.new_context()
    yield made
    made.close()


@contextlib.contextmanager
def visiting(context, served):
    """Open a part of the page; at the end, nothing has left this machine or complained."""
    pages, requests, complaints = [], [], []

    def open_page(part: str = "Read an image", width: int = 1280, scheme: str = "light"):
        opened = context.new_page()
        pages.append(opened)
        opened.set_viewport_size({"width": width, "height": 900})
        opened.emulate_media(color_scheme=scheme)
        opened.on("request", lambda request: requests.append(request.url))
        opened.on("websocket", lambda socket: requests.append(socket.url))
        opened.on("console", lambda message: complaints.append((message.type, message.text)))
        opened.on("pageerror", lambda error: complaints.append(("error", str(error))))
        opened.goto(served)
        opened.get_by_role("tab", name=part).click()
        opened.get_by_text("The translator learned from").wait_for()
        return opened

    yield open_page
    for opened in pages:
        opened.close()
    own = (served, served.replace("http", "ws"), "data:", "blob:")
    assert requests
    assert [url for url in requests if not url.startswith(own)] == []
    assert [text for kind, text in complaints if kind == "error"] == []


@pytest.fixture
def visit(context, served):
    with visiting(context, served) as open_page:
        yield open_page


@pytest.fixture(scope="module")
def forty(context, served, tmp_path_factory):
    """The page with the answer to an image of 40 at.%; tests only look at it."""
    with visiting(context, served) as open_page:
        opened = open_page()
        upload(opened, png(tmp_path_factory.mktemp("images") / "film.png", film(0.4)))
        opened.get_by_role("status").filter(has_text="at.% Sr").wait_for()
        yield opened


def upload(opened, *paths: Path) -> None:
    panel = opened.get_by_role("tabpanel").filter(visible=True)
    panel.locator("input[type=file]").set_input_files([str(path) for path in paths])


def test_an_image_gives_a_number_an_interval_and_both_patterns(forty):
    opened = forty
    answer = opened.get_by_role("status").filter(has_text="at.% Sr")
    assert "40.0 at.% Sr" in answer.inner_text()
    assert "90 % interval: 36.0 to 45.0 at.%" in answer.inner_text()
    assert opened.get_by_text("8-bit integers, divided by 255.").is_visible()
    images = opened.locator("figure img").filter(visible=True)
    assert [image.get_attribute("alt")[:14] for image in images.all()] == [
        "Your image: RH",
        "Reconstruction",
    ]
    for image in images.all():
        size = image.evaluate("image => [image.naturalWidth, image.naturalHeight]")
        assert size == [96, 64]
    assert opened.get_by_text("intensity, to the brightest point").first.is_visible()
    assert not opened.get_by_role("alert").filter(visible=True).count()


def test_the_page_says_how_well_films_are_read_and_where_the_training_films_lie(forty):
    assert forty.get_by_text("is missed by 2.1 at.% on average").is_visible()
    films = [tick.get_attribute("style") for tick in forty.locator(".scale i").all()]
    assert films == [f"left: {100 * (x - 35) / 30:.2f}%" for x in (35.0, 47.2, 55.0, 65.0)]


def test_what_the_number_rests_on_is_drawn_over_the_image(forty):
    forty.get_by_text("A02/A00 = 0.170").wait_for()
    streaks = forty.locator(".frame span").all()
    assert [streak.inner_text() for streak in streaks] == ["-2", "-1", "0", "1", "2"]
    frame = forty.locator(".frame").first.bounding_box()
    places = [(streak.bounding_box()["x"] - frame["x"]) / frame["width"] for streak in streaks]
    assert places == pytest.approx([0.1, 0.3, 0.5, 0.7, 0.9], abs=0.01)


def test_who_knows_that_the_numbers_are_linear_gets_a_narrower_interval(visit, tmp_path):
    opened = visit()
    upload(opened, png(tmp_path / "film.png", film(0.4)))
    opened.get_by_text("curved for the eye").wait_for()
    opened.get_by_text("proportional to the intensity: no gamma").first.click()
    opened.get_by_text("90 % interval: 38.0 to 43.0 at.%").wait_for()
    assert not opened.get_by_text("curved for the eye").count()


def test_an_image_unlike_the_training_films_is_warned_of_and_its_number_is_not_bold(
    visit, tmp_path
):
    opened = visit()
    upload(opened, png(tmp_path / "bright.png", film(0.64)))
    warning = opened.get_by_role("alert").filter(has_text="unlike the training films")
    warning.wait_for()
    assert warning.is_visible()
    number = opened.locator(".answer strong")
    number.wait_for()
    weight, size = (
        number.evaluate(f"element => parseFloat(getComputedStyle(element).{style})")
        for style in ("fontWeight", "fontSize")
    )
    assert weight <= 400
    assert size < 24


def test_a_colour_mapped_image_is_read_as_intensity_and_it_is_said(visit, tmp_path):
    # Read as brightness, the number would be a wrong one without a word.
    opened = visit()
    path = tmp_path / "viridis.png"
    Image.fromarray(colormaps["viridis"](film(0.4), bytes=True)[..., :3]).save(path)
    upload(opened, path)
    opened.get_by_text("Colours of the map viridis, turned back into intensity.").wait_for()
    number = opened.locator(".answer strong").inner_text().removesuffix(" at.% Sr")
    assert float(number) == pytest.approx(40, abs=0.3)  # a step of the map is 0.4


def test_a_number_outside_the_training_films_is_warned_of(visit, tmp_path):
    opened = visit()
    upload(opened, png(tmp_path / "dark.png", film(0.2)))
    opened.get_by_role("alert").filter(has_text="outside the range").wait_for()


def test_a_damaged_file_is_one_sentence_and_no_traceback(visit, tmp_path):
    opened = visit()
    path = tmp_path / "film & *x*.tif"
    path.write_bytes(b"II*\x00garbage")
    upload(opened, path)
    alert = opened.get_by_role("alert").filter(has_text="damaged")
    alert.wait_for()
    sentence = "film & *x*.tif is a damaged or unusual TIFF file; save it again."
    assert alert.inner_text().strip() == sentence
    assert "Traceback" not in opened.locator("body").inner_text()


def test_the_slider_draws_and_shows_the_nearest_film_with_its_value(visit):
    opened = visit("Draw a pattern")
    shown = opened.get_by_text("Nearest real film film 1, 47.2 at.% Sr")
    shown.wait_for()
    before = opened.locator("figure img").filter(visible=True).first.get_attribute("src")
    slider = opened.get_by_role("slider", name="Sr content")
    slider.focus()
    for _ in range(30):
        opened.keyboard.press("ArrowRight")
    opened.get_by_text("Generated pattern 53.0 at.% Sr").wait_for()
    opened.get_by_text("Nearest real film film 2, 55.0 at.% Sr").wait_for()
    after = opened.locator("figure img").filter(visible=True).first.get_attribute("src")
    assert after != before


def test_the_range_is_left_only_after_a_tick_and_with_a_warning(visit):
    # Outside the training films a pattern is an invention.
    opened = visit("Draw a pattern")
    slider = opened.get_by_role("slider", name="Sr content")
    slider.focus()
    opened.keyboard.press("End")
    opened.get_by_text("Generated pattern 65.0 at.% Sr").wait_for()
    assert not opened.get_by_role("alert").filter(visible=True).count()
    opened.get_by_text("Go beyond the range").click()
    opened.get_by_text("Generated pattern 50.0 at.% Sr").wait_for()
    slider.focus()
    opened.keyboard.press("End")
    opened.get_by_text("Generated pattern 75.0 at.% Sr").wait_for()
    opened.get_by_role("alert").filter(has_text="75.0 at.% is outside").wait_for()


def test_many_files_become_a_table_and_a_csv_and_one_bad_file_stops_none(visit, tmp_path):
    opened = visit("Read many images")
    bad = tmp_path / "bad.npy"
    bad.write_bytes(b"")
    good = [png(tmp_path / f"{level}.png", film(level)) for level in (0.4, 0.64)]
    upload(opened, good[0], bad, good[1])
    opened.get_by_text("2 of 3 images read.").wait_for()
    table = opened.get_by_role("table").filter(visible=True)
    assert "0.4.png" in table.inner_text()
    assert "bad.npy is empty" in table.inner_text()
    with opened.expect_download() as download:
        opened.get_by_role("button", name="Download the table as CSV").click()
    assert download.value.suggested_filename == "stoichiometry.csv"
    text = Path(download.value.path()).read_text(encoding="utf-8")
    rows = {row["name"]: row for row in csv.DictReader(io.StringIO(text))}
    assert list(rows) == ["0.4.png", "bad.npy", "0.64.png"]
    assert tuple(rows["bad.npy"]) == markup.COLUMNS
    assert float(rows["0.4.png"]["Sr [at.%]"]) == pytest.approx(40, abs=0.1)
    assert float(rows["0.4.png"]["low [at.%]"]) == pytest.approx(36, abs=0.1)
    assert float(rows["0.4.png"]["high [at.%]"]) == pytest.approx(45, abs=0.1)
    assert [rows[name]["in doubt"] for name in rows] == ["no", "", "yes"]
    assert rows["bad.npy"]["error"] == "bad.npy is empty (0 bytes); save it again."
    assert rows["0.4.png"]["remark"] == "8-bit integers, divided by 255."


def test_a_movie_is_read_image_by_image_and_drawn_in_its_order(visit, tmp_path):
    opened = visit("Read many images")
    frames = [np.rint(255 * film(level)).astype(np.uint8) for level in (0.4, 0.5, 0.3)]
    pages = [Image.fromarray(frame) for frame in frames]
    pages[0].save(tmp_path / "growth.tif", save_all=True, append_images=pages[1:])
    upload(opened, tmp_path / "growth.tif")
    opened.get_by_text("3 of 3 images read.").wait_for()
    assert "growth.tif image 2" in opened.get_by_role("table").filter(visible=True).inner_text()
    marks = [mark.bounding_box() for mark in opened.locator(".course b").all()]
    assert marks[0]["x"] < marks[1]["x"] < marks[2]["x"]
    assert marks[1]["y"] < marks[0]["y"] < marks[2]["y"], "more Sr stands higher"


def test_an_example_is_shown_to_who_has_no_image(visit):
    opened = visit()
    opened.get_by_text("Show an example").click()
    opened.get_by_text("film 1: 47.2 at.% Sr were measured, and learned from.").wait_for()
    opened.get_by_role("status").filter(has_text="at.% Sr").wait_for()


def test_a_part_of_the_image_can_be_used_alone(visit, tmp_path):
    framed = np.ones((64, 192), np.float32)
    framed[:, :96] = film(0.4)
    opened = visit()
    upload(opened, png(tmp_path / "framed.png", framed))
    opened.get_by_text("Use a part of the image only").click()
    slider = opened.get_by_role("slider", name="Columns used").last
    slider.focus()
    for _ in range(50):
        opened.keyboard.press("ArrowLeft")
    opened.get_by_text("40.0 at.% Sr").wait_for()


@pytest.mark.parametrize("part", ["Read an image", "Draw a pattern", "Read many images"])
def test_nothing_sticks_out_sideways(visit, tmp_path, part):
    opened = visit(part, WIDTHS[0])
    if part.startswith("Read"):
        upload(opened, png(tmp_path / "film.png", film(0.4)))
        opened.get_by_text("8-bit integers").wait_for()
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    for width in WIDTHS:
        opened.set_viewport_size({"width": width, "height": 900})
        opened.evaluate("() => new Promise(drawn => requestAnimationFrame(drawn))")
        assert opened.evaluate("window.innerWidth") == width
        assert opened.evaluate(overflow) == 0


@pytest.mark.parametrize(("scheme", "colour"), [("light", "#fcfcfb"), ("dark", "#14171a")])
def test_the_page_has_the_reports_colours(visit, scheme, colour):
    opened = visit(scheme=scheme)
    background = "getComputedStyle(document.querySelector('.stApp')).backgroundColor"
    shown = [int(part) for part in re.findall(r"\d+", opened.evaluate(background))[:3]]
    assert "#" + bytes(shown).hex() == colour


def test_parts_and_controls_have_names_for_those_who_do_not_see_them(visit):
    opened = visit("Draw a pattern")
    assert opened.get_by_role("heading", level=1).inner_text().startswith("RHEED patterns")
    assert opened.get_by_role("tab").count() == 3
    opened.get_by_role("slider", name="Sr content [at.% of the cations]").wait_for()
    assert not opened.get_by_text("Trained on simulated films").count()


@pytest.mark.parametrize("served", ["simulated"], indirect=True)
def test_a_translator_that_saw_no_real_film_says_so(visit):
    # A demonstration must not be taken for a measurement.
    opened = visit("Draw a pattern")
    assert opened.get_by_text("Trained on simulated films.").is_visible()
    opened.get_by_text("Nearest simulated film").wait_for()


@needs_streamlit
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_the_server_without_a_traceback(sign):
    server = start("real")
    address(server)
    server.send_signal(sign)
    out, err = server.communicate(timeout=60)
    assert (out, err) == ("", "")
    assert server.returncode in (0, -sign)


@needs_streamlit
def test_ctrl_c_ends_the_server_under_an_open_page(browser):
    # Whoever serves the page has it open.
    server = start("real")
    try:
        opened = browser.new_page()
        opened.goto(address(server))
        opened.get_by_text("The translator learned from").wait_for()
        server.send_signal(signal.SIGINT)
        assert server.communicate(timeout=30) == ("", "")
        assert server.returncode == 0
        opened.close()
    finally:
        server.kill()


@needs_streamlit
def test_a_fault_of_the_translator_is_a_sentence_here_and_a_traceback_in_the_terminal(browser):
    server = start("broken")
    try:
        opened = browser.new_page()
        opened.goto(address(server))
        opened.get_by_role("tab", name="Draw a pattern").click()
        opened.get_by_role("alert").filter(has_text="Something went wrong here").wait_for()
        assert "a fault inside" not in opened.locator("body").inner_text()
        opened.close()
    finally:
        server.send_signal(signal.SIGINT)
        _, err = server.communicate(timeout=30)
    assert "RuntimeError: a fault inside" in err


def test_the_page_is_for_this_machine_only(served):
    # Unpublished growth data must not stand open to the network.
    port = int(served.rpartition(":")[2])
    others = [a[4][0] for a in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)]
    for other in {a for a in others if not a.startswith("127.")}:
        with pytest.raises(OSError, match="refused"):
            socket.create_connection((other, port), timeout=5)


@needs_streamlit
def test_a_port_in_use_is_one_sentence_and_a_failure():
    with socket.create_server((ADDRESS, 0)) as taken:
        port = taken.getsockname()[1]
        server = start("real", port)
        out, err = server.communicate(timeout=60)
    assert err == f"Port {port} is in use; choose another by --port.\n"
    assert (out, server.returncode) == ("", 2)


@needs_streamlit
@pytest.mark.parametrize("port", [-1, 70_000])
def test_a_number_that_is_no_port_is_refused(port):
    with pytest.raises(ReproError, match=f"Port {port} cannot be opened"):
        serve_translator(lambda: None, port, open_browser=False)


def test_without_streamlit_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "streamlit", None)
    with pytest.raises(NotPossibleHere, match=r"pip install '\.\[page\]'"):
        serve_translator(lambda: None, 0, open_browser=False)


@needs_streamlit
def test_a_translator_that_cannot_be_opened_frees_the_port():
    def fail():
        raise ReproError("runs/none: no such folder.")

    with socket.create_server((ADDRESS, 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(ReproError, match="no such folder"):
        serve_translator(fail, port, open_browser=False)
    socket.create_server((ADDRESS, port)).close()


class Range:
    lowest, highest = 33.207, 70.45


@pytest.mark.parametrize(("beyond", "ends"), [(False, (33.3, 70.4)), (True, (23.3, 80.4))])
def test_the_sliders_ends_are_inside_what_may_be_drawn(beyond, ends):
    # A value rounded outward would be refused by the translator.
    assert app.slider_range(Range, beyond) == ends


def test_names_of_files_are_never_taken_for_html():
    rows = [
        Row("<script>.png", Reading(50.0, 48.0, 52.0, film(0.5), 0.0, np.zeros(5), 0.2, True)),
        Row("<img src=x>.png", error="<img src=x>.png is empty"),
    ]
    shown = markup.table(rows, 0.9) + markup.note("<script>", "error")
    assert "<script" not in shown
    assert "<img" not in shown


@pytest.mark.parametrize("scale", [0.0, 0.1, 1.0])
def test_a_pattern_is_shown_from_zero_to_its_brightest_point(scale):
    content = io.BytesIO(markup.pattern_png(scale * film(0.5)))
    shown = np.asarray(Image.open(content))
    ends = colormaps["cividis"]([0.0, 1.0 if scale else 0.0], bytes=True)[:, :3]
    np.testing.assert_array_equal(shown[0, [0, -1]], ends)


def test_a_large_pattern_is_shown_smaller_in_the_same_shape():
    shown = Image.open(io.BytesIO(markup.pattern_png(np.ones((1000, 2000)))))
    assert shown.size == (720, 360)


@needs_streamlit
def test_a_trained_run_is_served_by_its_command(browser, run, tmp_path):
    command = [sys.executable, "-m", "repro", "serve", "rheed_translator", str(run), "--port", "0"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    server = subprocess.Popen([*command, "--no-browser"], **pipes)
    dataset = Dataset.open(run / DATA_FILE)
    try:
        opened = browser.new_page()
        opened.goto(address(server))
        opened.get_by_text("SYNTHETIC").first.wait_for()
        image = dataset.array("images")[dataset.rows("test")[0]]
        upload(opened, png(tmp_path / "film.png", image))
        opened.get_by_role("status").filter(has_text="at.% Sr").wait_for()
        server.send_signal(signal.SIGINT)
        opened.close()
        assert server.wait(30) == 0
    finally:
        server.kill()
        server.communicate()
