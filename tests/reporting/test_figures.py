import matplotlib
import numpy as np
import pytest

from repro.errors import ReproError
from repro.reporting import figures


def two_seeds():
    losses = {"loss": [0.3, 0.2, 0.1], "val_loss": [0.25, 0.15, 0.2]}
    return {"0": losses, "1": losses}


@pytest.mark.parametrize("suffix", [".svg", ".png"])
def test_same_figure_gives_same_bytes(tmp_path, suffix):
    # A date or a random id in the file would make every run look like a change.
    one = figures.save(figures.training_curves(two_seeds()), tmp_path / f"one{suffix}")
    two = figures.save(figures.training_curves(two_seeds()), tmp_path / f"two{suffix}")
    assert one.read_bytes() == two.read_bytes()


def test_users_settings_do_not_change_the_figure(tmp_path):
    # The user's matplotlibrc would leak into published figures.
    plain = figures.save(figures.training_curves(two_seeds()), tmp_path / "plain.svg").read_bytes()
    with matplotlib.rc_context({"font.size": 30, "lines.linewidth": 9, "svg.fonttype": "none"}):
        again = figures.save(figures.training_curves(two_seeds()), tmp_path / "again.svg")
        assert matplotlib.rcParams["font.size"] == 30
    assert again.read_bytes() == plain


@pytest.mark.parametrize(("n", "drawn_as_image"), [(50, False), (5000, True)])
@pytest.mark.parametrize("kind", ["line", "scatter"])
def test_marks_too_many_to_be_told_apart_become_an_image(n, drawn_as_image, kind):
    # Five thousand marks would take a megabyte of the page; fifty must stay sharp.
    figure, axes = figures.new_figure()
    x = np.linspace(0, 1, n)
    axes[0, 0].plot(x, x**2, ".") if kind == "line" else axes[0, 0].scatter(x, x**2)
    content = figures.image(figure, ".svg")
    assert (b"<image" in content) == drawn_as_image
    assert len(content) < 40_000


def test_failed_save_keeps_what_was_there(tmp_path, monkeypatch):
    # A crash while drawing must not cost the figure of the run before.
    path = figures.save(figures.training_curves(two_seeds()), tmp_path / "curves.svg")
    before = path.read_bytes()
    figure = figures.training_curves(two_seeds())
    monkeypatch.setattr(figure, "savefig", lambda *args, **options: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        figures.save(figure, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_unknown_format_is_refused(tmp_path):
    # A .pdf would be dated and could not be embedded in the report.
    with pytest.raises(ReproError, match=r"curves\.pdf"):
        figures.save(figures.training_curves(two_seeds()), tmp_path / "curves.pdf")


def test_curves_of_every_seed_and_the_reference_are_drawn():
    # A seed or the published curve left out would flatter the result.
    reference = figures.Curve("authors", (1, 2, 3), (0.2, 0.18, 0.17))
    ax = figures.training_curves(two_seeds(), reference).axes[0]
    assert len(ax.lines) == 5
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["training", "validation", "authors"]
    np.testing.assert_array_equal(ax.lines[-1].get_ydata(), reference.values)


def test_curves_are_told_apart_without_colour():
    # Training and validation must differ in print and to colour-blind eyes.
    ax = figures.training_curves(two_seeds()).axes[0]
    assert len({line.get_linestyle() for line in ax.lines}) == 2


@pytest.mark.parametrize(
    "seeds",
    [{}, {"0": {}}, {"0": {"loss": [0.5]}}, {"0": {"val_loss": [1.0, float("nan")]}}],
    ids=["nothing", "no columns", "one epoch", "not finite"],
)
def test_poor_histories_are_drawn_and_described(tmp_path, seeds):
    # A run stopped early still gets its report.
    figures.save(figures.training_curves(seeds), tmp_path / "curves.svg")
    assert figures.describe_curves(seeds)


def test_description_names_the_best_epoch():
    # Who cannot see the curve learns the same from its description.
    assert "lowest 0.15 at epoch 2" in figures.describe_curves(two_seeds())
