import pytest

from repro.reporting.formatting import breakable
from repro.reporting.labels import metric_label, order_label


@pytest.mark.parametrize(
    ("key", "label"),
    [
        ("r2/c/02", "R², c, 2"),
        ("validation_mae/imag", "Validation mean absolute error, imaginary part"),
        ("held_out/image_to_image/pearson", "Held out, image to image, correlation"),
        ("class/accuracy/dose_1e+06", "Class, accuracy, dose 10⁶"),
        ("noise_1e-03/refined", "Noise 10⁻³, refined"),
        ("step/accuracy/100_A", "Step, accuracy, 100 Å"),
        ("within_0.001_A", "Within 0.001 Å"),
        ("r2/small_atoms/*", "R², small atoms"),
        ("r2/layer_*", "R², layer"),
        ("layers_24:r2/c", "R², c (layers 24)"),
    ],
)
def test_keys_become_words(key, label):
    # Readers of the page do not know the keys of the code.
    assert metric_label(key) == label


def test_order_has_one_capital():
    # A capital after each sign would look like a new sentence.
    assert (
        order_label(["class/accuracy", "linear/accuracy"]) == "Class, accuracy > linear, accuracy"
    )


def test_key_breaks_between_its_words_only():
    # A key broken in mid-word cannot be searched for or copied; its characters stay as they are.
    assert breakable("r2/small_atoms") == "r2/<wbr>small_<wbr>atoms"
    assert breakable("a<b>") == "a&lt;b&gt;"
