"""Real films: an archive is read whole or refused in a sentence, and fetched once and for all."""

import hashlib
import http.server
import os
import threading
from pathlib import Path

import numpy as np
import pytest

from repro.datasets.build import build
from repro.datasets.spec import load_spec
from repro.datasets.store import Dataset, verify, write_dataset
from repro.errors import NotPossibleHere, ReproError
from repro.imaging.geometry import resized
from repro.studies.rheed_translator.data import archive
from repro.studies.rheed_translator.data.archive import arrays, fetch, read_archive

SHARED = Path(__file__).resolve().parents[4] / "shared"
REAL = Path(os.environ.get("REPRO_RHEED_FILMS") or SHARED / "refs/rheed/rheed_sto_24.npz")

CONTENTS = np.array([33.2, 41.5, 50.0, 61.25])


def fractions(n=4, height=6, width=8):
    """Return images with 1 as their brightest and 0 as their darkest pixel."""
    images = np.random.default_rng(0).random((n, height, width))
    images[:, 0, 0], images[:, 0, 1] = 0, 1
    return images


def saved(path, **entries):
    np.savez(path, **{"images": fractions(), "stoich": CONTENTS, **entries})
    return path


@pytest.fixture
def path(tmp_path):
    return tmp_path / "films.npz"


# Reading


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f8"])
def test_fractions_are_read_as_they_are(path, dtype):
    stored = fractions().astype(dtype)
    films = read_archive(saved(path, images=stored, stoich=CONTENTS.astype(dtype)))
    assert films.images.dtype == np.float32
    assert films.stoichiometry.dtype == np.float64
    np.testing.assert_array_equal(films.images, stored.astype(np.float32))
    np.testing.assert_array_equal(films.stoichiometry, CONTENTS.astype(dtype))
    assert len(films) == 4
    assert films.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("dtype", "full_scale"),
    [("uint8", 255), ("float32", 255), ("uint16", 4095), ("uint16", 65535), ("int64", 65535)],
)
def test_counts_are_divided_by_the_full_scale_of_the_whole_archive(path, dtype, full_scale):
    counts = np.round(fractions() * full_scale)
    counts[1:] = np.round(counts[1:] / 2)  # one bright film, the others darker
    films = read_archive(saved(path, images=counts.astype(dtype)))
    np.testing.assert_allclose(films.images, counts / full_scale, atol=1e-7)
    assert films.images[0].max() == 1
    assert films.images[1].max() < 0.51, "a film was scaled by itself"


def test_further_entries_and_compression_do_not_matter(path):
    saved(path, note=np.array("twenty-four films"), order=np.arange(9), thing=np.array([{}]))
    plain = read_archive(path)
    np.savez_compressed(path, images=fractions(), stoich=CONTENTS)
    np.testing.assert_array_equal(read_archive(path).images, plain.images)


def test_whole_numbers_are_taken_as_sr_contents(path):
    films = read_archive(saved(path, stoich=np.array([35, 45, 50, 60])))
    np.testing.assert_array_equal(films.stoichiometry, [35.0, 45.0, 50.0, 60.0])


def test_a_fraction_that_passes_0_or_1_by_rounding_is_clipped(path):
    images = fractions()
    images[0, 0, 0], images[0, 0, 1] = -5e-4, 1 + 5e-4
    read = read_archive(saved(path, images=images)).images
    assert (read.min(), read.max()) == (0, 1)


def test_the_real_films_are_read():
    if not REAL.exists():
        pytest.skip("the real films are not on this machine")
    films = read_archive(REAL)
    assert films.images.shape == (24, 210, 280)
    assert films.stoichiometry.min() == pytest.approx(33.207, abs=1e-3)
    assert films.stoichiometry.max() == pytest.approx(70.450, abs=1e-3)
    assert films.images.min() >= 0
    assert 0.8 < films.images.max(axis=(1, 2)).min() < films.images.max() <= 1


# Bad input


def with_pixel(value, film=2):
    images = fractions()
    images[film, 3, 3] = value
    return images


def with_film(image):
    images = fractions()
    images[1] = image
    return images


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"images": np.repeat(fractions()[..., None], 3, -1)}, r"colour images, \(4, 6, 8, 3\)"),
        ({"images": fractions()[0]}, r"'images' of the shape \(6, 8\): give \(films, height, w"),
        ({"images": np.float64(1)}, r"'images' of the shape \(\)"),
        ({"images": fractions()[:, None]}, r"'images' of the shape \(4, 1, 6, 8\)"),
        ({"images": np.zeros((4, 0, 8))}, "images of 0 by 8 pixels"),
        ({"images": np.zeros((4, 6, 1))}, "images of 6 by 1 pixels"),
        (
            {"images": np.zeros((0, 6, 8)), "stoich": CONTENTS[:0]},
            "has fewer than two films: give",
        ),
        ({"images": fractions(1), "stoich": CONTENTS[:1]}, "has fewer than two films: give"),
        ({"stoich": CONTENTS[:3]}, "has 4 images but 3 Sr contents"),
        ({"stoich": CONTENTS[:, None]}, r"'stoich' of the shape \(4, 1\): give \(films,\)"),
        ({"images": fractions().astype(complex)}, "'images' of the type complex128"),
        ({"images": fractions() > 0.5}, "'images' of the type bool"),
        ({"images": np.full((4, 6, 8), "a")}, "'images' of the type <U1"),
        ({"stoich": np.array(["33", "34", "35", "36"])}, "'stoich' of the type <U2"),
        ({"images": with_pixel(np.nan)}, "number in 'images' that is not finite, of film 2"),
        ({"images": with_pixel(-np.inf, 3)}, "number in 'images' that is not finite, of film 3"),
        ({"stoich": np.array([33, np.nan, 50, 60])}, "number in 'stoich' .* of film 1"),
        ({"images": with_film(0.0)}, "an empty image, of film 1: leave"),
        ({"images": with_film(0.5)}, "an image of one brightness only, of film 1: leave"),
        ({"images": with_pixel(-0.2)}, "intensities below 0, down to -0.2, of film 2"),
        ({"images": with_pixel(2.5)}, "intensities up to 2.5: give fractions"),
        ({"images": with_pixel(1e6)}, r"intensities up to 1e\+06: give fractions"),
        ({"images": with_pixel(1e300)}, r"intensities up to 1e\+300: give fractions"),
        ({"stoich": np.full(4, 50.0)}, "films of 50 at.% only: nothing can be learnt"),
        ({"stoich": np.array([33.0, 50, 60, 101])}, "Sr content of 101 at.%: it lies from 0 to"),
        ({"stoich": np.array([33.0, -1, 60, 70])}, "Sr content of -1 at.%: it lies from 0 to 100"),
        ({"stoich": CONTENTS / 100}, "Sr contents up to 0.6125: these are fractions, give percent"),
    ],
)
def test_films_that_cannot_be_right_are_refused_in_a_sentence(path, entries, message):
    with pytest.raises(ReproError, match=message) as caught:
        read_archive(saved(path, **entries))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_or_a_folder_is_named(path, tmp_path):
    for missing in (path, tmp_path):
        with pytest.raises(ReproError, match=f"There is no file {missing}: give an .npz with"):
            read_archive(missing)


@pytest.mark.parametrize("content", [b"", b"not an archive", b"<html>404</html>", b"\x93NUMPY"])
def test_what_is_no_npz_is_refused(path, content):
    path.write_bytes(content)
    with pytest.raises(ReproError, match=r"films.npz is no .npz: save one with numpy.savez"):
        read_archive(path)


def test_a_single_array_is_no_archive(path):
    with path.open("wb") as file:
        np.save(file, fractions())
    with pytest.raises(ReproError, match=r"is no \.npz"):
        read_archive(path)


def test_other_keys_are_listed(path):
    np.savez(path, images=fractions(), labels=CONTENTS)
    with pytest.raises(ReproError, match="holds images, labels: an archive of films holds 'images"):
        read_archive(path)
    np.savez(path)
    with pytest.raises(ReproError, match=r"films.npz"):
        read_archive(path)


def test_a_cut_off_archive_is_refused_wherever_it_is_cut(path):
    np.savez_compressed(path, images=fractions(), stoich=CONTENTS)
    content = path.read_bytes()
    for length in range(4, len(content), 97):
        path.write_bytes(content[:length])
        with pytest.raises(ReproError, match="damaged or cut off: copy or download it again"):
            read_archive(path)


def test_a_flipped_byte_is_found_or_harmless(path):
    content = bytearray(saved(path).read_bytes())
    whole = read_archive(path)
    for place in range(2, len(content), 13):
        altered = content.copy()
        altered[place] ^= 0x55
        path.write_bytes(altered)
        try:
            read = read_archive(path)
        except ReproError:
            continue
        np.testing.assert_array_equal(read.images, whole.images)
        np.testing.assert_array_equal(read.stoichiometry, whole.stoichiometry)


def test_pickled_objects_are_never_loaded(path):
    saved(path, stoich=np.array([33.2, 41.5, 50.0, None]))
    with pytest.raises(ReproError, match="holds pickled objects, which are never loaded"):
        read_archive(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_named(path):
    saved(path).chmod(0)
    with pytest.raises(ReproError, match="may not be read"):
        read_archive(path)


# A data set of them


def test_films_become_a_data_set_that_names_the_archive_by_its_checksum_only(path, tmp_path):
    films = read_archive(saved(path))
    choices = {"height": 3, "width": 4, "sha256": films.sha256, "train": len(films)}
    spec = load_spec("rheed_sto").resolve("desk", None, choices | {"validation": 0, "test": 0})
    write_dataset(tmp_path / "films.h5", spec, [arrays(films, spec.parameters)])
    verify(tmp_path / "films.h5")
    dataset = Dataset.open(tmp_path / "films.h5")
    np.testing.assert_array_equal(dataset.array("images"), resized(films.images, 3, 4))
    np.testing.assert_array_equal(dataset.array("stoichiometry"), CONTENTS)
    assert dataset.spec.parameters["sha256"] == films.sha256
    assert str(tmp_path) not in dataset.spec.model_dump_json()
    assert dataset.spec.card.kind == "measured"


def test_another_archive_gives_another_fingerprint():
    one, other = (
        load_spec("rheed_sto").resolve("desk", None, {"sha256": digit * 64}) for digit in "ab"
    )
    assert one.fingerprint != other.fingerprint


# Fetching


@pytest.fixture
def served(tmp_path, monkeypatch):
    """Serve a folder over HTTP; return the folder, the address and the requests so far."""
    folder, requests = tmp_path / "served", []
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=folder)

        def log_message(self, *arguments):
            requests.append(arguments)

        def copyfile(self, source, outputfile):
            content = source.read()
            outputfile.write(content[: len(content) // 2] if "cut" in self.path else content)

    monkeypatch.setenv("no_proxy", "*")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}", requests
        server.shutdown()
        thread.join()


@pytest.fixture
def published(served):
    """Serve films as the published ones; return the file, its address and the requests so far."""
    folder, address, requests = served
    return saved(folder / "published.npz"), f"{address}/published.npz", requests


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_first_download_keeps_the_archive_and_its_checksum(published, path):
    original, url, requests = published
    target = path.parent / "new" / "folder" / path.name
    assert fetch(target, url) == target
    assert target.read_bytes() == original.read_bytes()
    record = target.with_name("films.npz.sha256")
    assert record.read_text() == f"{digest(original)}  films.npz\n"
    assert sorted(target.parent.iterdir()) == [target, record]
    assert len(requests) == 1


def test_an_archive_that_is_here_is_not_downloaded_again(published, path):
    _, url, requests = published
    fetch(path, url)
    assert fetch(path, url) == path
    assert len(requests) == 1


def test_an_archive_put_there_by_hand_is_kept_and_its_checksum_noted(published, path):
    _, url, requests = published
    saved(path, stoich=CONTENTS + 1)
    before = digest(path)
    fetch(path, url)
    assert digest(path) == before
    assert path.with_name("films.npz.sha256").read_text().startswith(before)
    assert not requests


def test_a_file_of_another_kind_is_not_taken_for_the_archive(published, path):
    _, url, requests = published
    path.write_text("grown on Monday")
    with pytest.raises(ReproError, match=r"films.npz is no .npz"):
        fetch(path, url)
    assert path.read_text() == "grown on Monday"
    assert sorted(path.parent.glob("films*")) == [path], "its checksum would be believed"
    assert not requests


def test_an_archive_altered_here_is_refused_and_left_alone(published, path):
    _, url, _ = published
    fetch(path, url)
    saved(path, stoich=CONTENTS + 1)
    altered = digest(path)
    with pytest.raises(ReproError, match=r"films.npz is not the file whose checksum .* keeps"):
        fetch(path, url)
    assert digest(path) == altered


def test_an_archive_altered_there_is_refused_at_the_second_download(published, path):
    original, url, _ = published
    first = fetch(path, url).with_name("films.npz.sha256").read_text()
    path.unlink()
    saved(original, stoich=CONTENTS + 1)
    with pytest.raises(ReproError, match=r"published.npz is not the file .* first download"):
        fetch(path, url)
    assert not path.exists()
    assert path.with_name("films.npz.sha256").read_text() == first
    path.with_name("films.npz.sha256").unlink()
    assert read_archive(fetch(path, url)).stoichiometry[0] == pytest.approx(34.2)


def test_a_page_instead_of_an_archive_is_refused_and_nothing_kept(served, path):
    folder, address, _ = served
    (folder / "login.html").write_text("<html>please log in</html>")
    with pytest.raises(ReproError, match=r"login.html is no .npz"):
        fetch(path, f"{address}/login.html")
    assert not list(path.parent.glob("films*"))


def cut(served):
    folder, address, _ = served
    saved(folder / "cut.npz")
    return f"{address}/cut.npz"


@pytest.mark.parametrize(
    "url",
    [
        lambda served: f"{served[1]}/missing.npz",
        lambda served: "http://127.0.0.1:9/films.npz",
        lambda served: "http://no.such.host.invalid/films.npz",
        cut,
    ],
    ids=["missing", "closed port", "unknown host", "cut off"],
)
def test_a_download_that_fails_tells_the_address_and_what_else_to_do(served, path, url):
    address = url(served)
    with pytest.raises(NotPossibleHere) as caught:
        fetch(path, address)
    assert str(caught.value).startswith(f"{address} cannot be downloaded (")
    assert str(caught.value).endswith("get it on another machine and give it with --data FILE.")
    assert not list(path.parent.glob("films*"))


def test_a_folder_that_cannot_be_made_is_named(published, path):
    _, url, _ = published
    path.write_text("a file where a folder should be")
    with pytest.raises(ReproError, match=r"films.npz/films.npz cannot be written \("):
        fetch(path / "films.npz", url)


# The published archive as a data set


@pytest.fixture
def cached(published, tmp_path, monkeypatch):
    """Let the published archive be the served one, and the cache be empty."""
    original, url, requests = published
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(archive.fetch, "__defaults__", (url,))
    return original, requests


def test_the_published_archive_is_fetched_once_and_built(cached, tmp_path):
    original, requests = cached
    for preset, size in (("smoke", (48, 64)), ("desk", (105, 140))):
        spec = load_spec("rheed_sto").resolve(preset, None, {"train": 4})
        dataset = Dataset.open(build(spec, tmp_path / f"{preset}.h5"))
        expected = resized(read_archive(original).images, *size)
        np.testing.assert_array_equal(dataset.array("images"), expected)
    assert len(requests) == 1
    assert archive.cached_path() == tmp_path / "cache" / "repro" / "rheed_stoich_data.npz"


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"train": 5}, "published archive has 4 films, not 5: ask for fewer"),
        ({"train": 4, "sha256": "a" * 64}, "another archive than the published one: give that"),
    ],
)
def test_other_films_than_the_published_ones_are_not_made_up(cached, tmp_path, choices, message):
    spec = load_spec("rheed_sto").resolve("desk", None, choices)
    with pytest.raises(ReproError, match=message):
        build(spec, tmp_path / "films.h5")


def test_without_a_home_for_caches_the_usual_place_is_taken(monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert archive.cached_path() == Path.home() / ".cache/repro/rheed_stoich_data.npz"
