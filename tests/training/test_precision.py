import keras
import pytest

from repro.errors import ReproError
from repro.training.precision import precision


def test_unknown_precision_is_refused_with_the_known_ones():
    with (
        pytest.raises(ReproError, match="'float64' is not known: choose one of float32, mixed_b"),
        precision("float64"),
    ):
        pass


def fail_under(name):
    with precision(name):
        assert keras.config.dtype_policy().name == name
        raise KeyError(name)


def test_policy_of_before_comes_back_even_after_an_error():
    with pytest.raises(KeyError):
        fail_under("mixed_bfloat16")
    assert keras.config.dtype_policy().name == "float32"
