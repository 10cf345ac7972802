"""Released weights answer as in PyTorch, and are judged by films they never saw."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from torch_files import state_dict
from typer.testing import CliRunner

from repro import cli
from repro.errors import NotPossibleHere, ReproError
from repro.released.state_dict import read_state_dict
from repro.runs.choices import Choices
from repro.runs.data import Given, import_archive
from repro.runs.released import facts, page
from repro.studies.rheed_translator.published.model import (
    MODALITIES,
    LossWeights,
    loss_parts,
    published_translator,
)
from repro.studies.rheed_translator.published.translation import said_by
from repro.studies.rheed_translator.recipe import (
    N_PUBLISHED,
    PRINTED_POSITIONS,
    PRINTED_TEST,
    PUBLISHED_TEST,
    Films,
)
from repro.studies.rheed_translator.released.conversion import set_weights
from repro.studies.rheed_translator.released.judging import divided, evaluate
from repro.studies.rheed_translator.released.weights import fetch
from repro.study import get_study

# Written by by_pytorch.py beside it, with PyTorch 2.9.
FOLDER = Path(__file__).parent / "released"
WEIGHTS = FOLDER / "translator.pth"
LOWEST, RANGE = 33.206898, 70.45019 - 33.206898  # as the authors' model_meta.npz has them


def small():
    """Return a translator of ours as narrow as the one in the file."""
    return published_translator(13, 22, channels=(2, 3, 4), n_hidden=16)


# ---- from PyTorch to ours


def test_the_weights_of_pytorch_answer_as_in_pytorch():
    network = small()
    set_weights(network, read_state_dict(WEIGHTS), "it")
    with np.load(FOLDER / "answers.npz") as stored:
        theirs = dict(stored)
    films = {
        "image": theirs.pop("image")[:, 0, :, :, None],
        "stoichiometry": theirs["stoichiometry"],
    }
    found = said_by(network, films)
    assert theirs.keys() - {"stoichiometry"} == found.keys()
    for name, values in found.items():
        expected = theirs[name][:, 0, :, :, None] if name.endswith("to_image") else theirs[name]
        assert np.ptp(expected, axis=0).max() > 1e-2, "all films answered alike"
        np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-5, err_msg=name)


def put(name, change):
    return lambda tensors: tensors | {name: change(tensors[name])}


def without(name):
    return lambda tensors: {other: tensors[other] for other in tensors if other != name}


def one_not_a_number(values):
    return np.where(np.arange(values.size).reshape(values.shape) == values.size - 1, np.nan, values)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            put("dec_img.net.2.weight", lambda w: w[:, :, :3, :3]),
            "layer 4 of the image decoder does not fit: 'dec_img.net.2.weight' is of the shape "
            "(3, 2, 3, 3), the published translator has (3, 2, 4, 4)",
        ),
        (
            put("enc_img.fc.0.weight", lambda w: w[:, :-1]),
            "layer 4 of the image encoder does not fit: 'enc_img.fc.0.weight' is of the shape "
            "(16, 23), the published translator has (16, 24)",
        ),
        (put("enc_sto.net.0.bias", one_not_a_number), "'enc_sto.net.0.bias' has a number"),
        (put("dec_sto.net.2.weight", one_not_a_number), "layer 2 of the stoichiometry decoder"),
        (without("dec_sto.net.2.bias"), "layer 2 of the stoichiometry decoder is missing"),
        (lambda t: dict(reversed(t.items())), "layer 1 of the image encoder does not fit"),
        (lambda t: t | {"more": np.ones(2)}, "goes on with 'more'"),
    ],
)
def test_weights_that_do_not_fit_are_refused_with_the_first_layer(tmp_path, change, told):
    path = state_dict(tmp_path / "altered.pth", change(read_state_dict(WEIGHTS)))
    with pytest.raises(ReproError) as caught:
        set_weights(small(), read_state_dict(path), "altered.pth")
    assert told in str(caught.value)
    assert str(caught.value).startswith("altered.pth")


# ---- the films that the authors' training held out


def films_of(contents):
    contents = np.array(contents)
    return Films(np.zeros((len(contents), 2, 2)), contents, np.arange(len(contents)))


def test_the_authors_films_are_known_by_position_in_their_order_and_by_content_in_another():
    contents = np.linspace(34, 69, N_PUBLISHED)
    for place, content in (PRINTED_POSITIONS | PRINTED_TEST).items():
        contents[place] = content
    held_out, learnt = divided(films_of(contents))
    assert held_out == tuple(sorted(PUBLISHED_TEST))
    assert sorted(held_out + learnt) == list(range(N_PUBLISHED))
    held_out, learnt = divided(films_of(np.round(contents[::-1], 3)))
    assert [N_PUBLISHED - 1 - place for place in held_out[::-1]] == sorted(PRINTED_TEST)
    assert [N_PUBLISHED - 1 - place for place in learnt[::-1]] == sorted(PRINTED_POSITIONS)
    with pytest.raises(ReproError, match="the published ones with --data"):
        divided(films_of(contents[1:]))


@pytest.fixture(scope="module")
def published(dataset, tmp_path_factory):
    """A data set of twelve films, seven of which have the Sr contents that the authors print."""
    folder = tmp_path_factory.mktemp("published")
    contents = np.array(dataset.array("stoichiometry")[:12])
    printed = [*PRINTED_TEST.values(), *PRINTED_POSITIONS.values()]
    contents[: len(printed)] = printed
    np.savez(folder / "films.npz", images=dataset.array("images")[:12], stoich=contents)
    study = get_study("rheed_translator")
    given = Given.of(study, folder / "films.npz")
    return import_archive(given, folder / "data.h5", Choices(study=study.name))


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    """The file of a translator at preset smoke, as PyTorch would have drawn it."""
    draws, channels = np.random.default_rng(0), (1, 4, 16, 64)
    flat, shapes = 64 * 6 * 8, []
    for n_in, n_out in pairwise(channels):
        shapes += [(n_out, n_in, 3, 3), (n_out,)]
    for widths in ((flat, 64, 48), (1, 2, 48), (48, 24, 12), (12, 24, 48), (48, 64, flat)):
        for n_in, n_out in pairwise(widths):
            shapes += [(n_out, n_in), (n_out,)]
    for n_in, n_out in ((64, 16), (16, 4), (4, 1)):
        shapes += [(n_in, n_out, 4, 4), (n_out,)]
    shapes += [(2, 48), (2,), (1, 2), (1,)]
    tensors = {
        str(place): draws.uniform(-1, 1, shape).astype(np.float32) / max(shape[-1], 4)
        for place, shape in enumerate(shapes)
    }
    return state_dict(tmp_path_factory.mktemp("smoke") / "model.pth", tensors)


@pytest.fixture(scope="module")
def found(published, smoke):
    calls = []
    evaluation = evaluate(smoke, published, lambda *call: calls.append(call))
    assert calls == [(0, 2), (1, 2), (2, 2)]
    return evaluation


def test_errors_are_those_of_the_films_held_out_and_of_those_learnt_from(found, published, smoke):
    network = published_translator(48, 64)
    set_weights(network, read_state_dict(smoke), "it")
    contents = np.array(published.array("stoichiometry"))
    films = {
        "image": np.array(published.array("images"))[..., None],
        "stoichiometry": ((contents - LOWEST) / RANGE).astype(np.float32)[:, None],
    }
    answers = said_by(network, films)
    from_image, from_content = (
        LOWEST + RANGE * answers[f"{source}_to_stoichiometry"][:, 0] for source in MODALITIES
    )
    held_out, learnt = slice(0, 3), slice(3, 7)
    errors = np.abs(from_image - contents)
    own = np.sqrt(np.square(from_content - contents)[learnt].mean())
    seen = [{name: values[learnt] for name, values in of.items()} for of in (films, answers)]
    expected = {
        "held_out/mae": errors[held_out].mean(),
        "held_out/printed/mae": errors[held_out].mean(),
        "held_out/films": 3,
        "train/mae": errors[learnt].mean(),
        "train/stoichiometry_to_stoichiometry/rmse": own,
        "train/loss": float(LossWeights().total(loss_parts(*seen))),
    }
    for name, value in expected.items():
        assert found.metrics[name].value == pytest.approx(value, rel=1e-4), name


def test_every_claim_about_the_published_translator_is_held_against_them(found):
    study = get_study("rheed_translator")
    told = json.loads(json.dumps(facts(study, found)))
    claims = {row["claim"]: row for row in told["claims"]}
    assert claims.keys() == {claim.id for claim in study.claims.claims}
    error = claims["unseen_error"]
    assert error["value"] == found.metrics["held_out/mae"].value
    assert error["interval"][0] <= error["value"] <= error["interval"][1]
    assert claims["final_loss"]["interval"] is None
    difference = claims["reconstruction"]["value"]
    image, mean = (
        found.metrics[f"held_out/{name}/pearson"].value for name in ("image_to_image", "mean_image")
    )
    assert difference == pytest.approx(image - mean)
    assert (claims["reconstruction"]["status"] == "falls short") == (difference < 0.1)
    text = page(told)
    assert told["assumption"] in text
    for claim in study.claims.claims:
        assert claim.statement in text


# ---- as a user types it


def called(*arguments):
    ran = CliRunner().invoke(cli.app, [str(argument) for argument in arguments])
    assert "Traceback" not in ran.stderr
    lines = [line for line in ran.stderr.splitlines() if line.startswith("error: ")]
    return ran.exit_code, " ".join(lines)


@pytest.fixture(scope="module")
def archive(published, tmp_path_factory):
    path = tmp_path_factory.mktemp("given") / "films.npz"
    arrays = {"images": published.array("images"), "stoich": published.array("stoichiometry")}
    np.savez(path, **{name: np.array(values) for name, values in arrays.items()})
    return path


@pytest.mark.slow
def test_a_file_of_another_network_is_one_sentence(archive):
    status, said = called("released", "rheed_translator", "--weights", WEIGHTS, "--data", archive)
    assert status == 2
    assert "layer 1 of the image encoder does not fit: 'enc_img.net.0.weight'" in said


def test_a_study_without_released_weights_says_so(archive):
    for words in (("released", "mamba", "--data", archive, "--weights", WEIGHTS),
                  ("data", "fetch", "mamba", "--weights", "--out", "weights.pth")):  # fmt: skip
        status, said = called(*words)
        assert status == 2
        assert "mamba cannot do this" in said


def test_released_weights_are_downloaded_once_and_checked(tmp_path):
    target = tmp_path / "weights.pth"
    assert fetch(target, WEIGHTS.as_uri()) == target
    assert target.read_bytes() == WEIGHTS.read_bytes()
    (tmp_path / "login.html").write_text("<html>please log in</html>")
    with pytest.raises(ReproError, match=r"login.html is no file of PyTorch"):
        fetch(tmp_path / "others.pth", (tmp_path / "login.html").as_uri())
    assert not (tmp_path / "others.pth").exists()
    with pytest.raises(NotPossibleHere, match="give it with --weights FILE"):
        fetch(tmp_path / "others.pth", (tmp_path / "absent").as_uri())
