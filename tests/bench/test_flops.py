import keras
import numpy as np
import pytest
from keras import layers

from repro.bench.flops import network_cost
from repro.errors import ReproError
from repro.layers.counted import Counted


def flops(shape, *stack):
    return network_cost(keras.Sequential([layers.Input(shape), *stack])).flops


@pytest.mark.parametrize(
    ("shape", "layer", "expected"),
    [
        ((5,), layers.Dense(3), 2 * 5 * 3),
        ((7, 5), layers.Dense(3), 2 * 7 * 5 * 3),
        ((10, 4), layers.Conv1D(6, 3, padding="same"), 2 * 10 * 3 * 4 * 6),
        ((10, 4), layers.Conv1D(6, 3, padding="valid"), 2 * 8 * 3 * 4 * 6),
        ((8, 8, 4), layers.Conv2D(6, 3, strides=2, padding="same"), 2 * 16 * 9 * 4 * 6),
        ((8, 8, 4), layers.Conv2D(6, 3, groups=2, padding="same"), 2 * 64 * 9 * 2 * 6),
        ((4, 4, 4, 2), layers.Conv3D(3, 2), 2 * 27 * 8 * 2 * 3),
        ((8, 8, 4), layers.DepthwiseConv2D(3, padding="same"), 2 * 64 * 9 * 4),
        ((8, 8, 4), layers.SeparableConv2D(6, 3, padding="same"), 2 * 64 * (9 * 4 + 4 * 6)),
        ((8, 4), layers.Conv1DTranspose(6, 3, strides=2, padding="same"), 2 * 8 * 3 * 4 * 6),
        ((4, 4, 4), layers.Conv2DTranspose(6, 2, strides=2), 2 * 16 * 4 * 4 * 6),
        ((7, 5), layers.EinsumDense("abc,cd->abd", (None, 3)), 2 * 7 * 5 * 3),
        ((7, 5), layers.EinsumDense("...bc,cd->...bd", (7, 3)), 2 * 7 * 5 * 3),
        ((8, 4), layers.UpSampling1D(2), 0),
        ((8, 4), layers.BatchNormalization(), 0),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_layer_costs_what_its_definition_says(shape, layer, expected):
    assert flops(shape, layer) == expected


def test_attention_counts_projections_scores_and_sums():
    query, value = layers.Input((7, 16)), layers.Input((5, 12))
    model = keras.Model([query, value], layers.MultiHeadAttention(2, 4, value_dim=3)(query, value))
    projections = 7 * 16 * 8 + 5 * 12 * 8 + 5 * 12 * 6 + 7 * 6 * 16
    products = 2 * 7 * 5 * (4 + 3)
    assert network_cost(model).flops == 2 * (projections + products)


def test_nested_models_and_shared_layers_count_as_often_as_they_are_used():
    inner = keras.Sequential([layers.Input((None, 4)), layers.Conv1D(4, 3, padding="same")])
    x = inputs = layers.Input((10, 4))
    x = inner(inner(x))
    cost = network_cost(keras.Model(inputs, layers.Dense(1)(x)))
    assert cost.flops == 2 * (2 * 10 * 3 * 4 * 4) + 2 * 10 * 4
    assert cost.parameters == 3 * 4 * 4 + 4 + 4 + 1


def test_layers_inside_a_layer_of_ours_are_counted():
    class Block(layers.Layer):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(5)

        def call(self, x):
            return x + self.dense(x)

    assert flops((5,), Block()) == 2 * 5 * 5


def test_a_layer_of_ours_says_itself_what_it_costs():
    class Outer(Counted):
        def build(self, shape):
            self.kernel = self.add_weight(shape=(shape[-1], 7), name="kernel")

        def call(self, x):
            return x @ self.kernel

        def flops(self, inputs, output):
            return 2 * inputs[0][-1] * output[-1]

    assert flops((5,), Outer()) == 2 * 5 * 7


def test_unet_of_the_first_study_costs_what_its_specification_says():
    def pair(x, filters):
        for _ in range(2):
            x = layers.Conv1D(filters, 3, padding="same", activation="relu")(x)
        return x

    def up(x, skip, filters):
        x = layers.Conv1D(filters, 2, padding="same")(layers.UpSampling1D(2)(x))
        return pair(layers.Concatenate()([skip, x]), filters)

    inputs = layers.Input((3840, 1))
    one = pair(inputs, 128)
    two = pair(layers.MaxPooling1D(2)(one), 256)
    x = up(pair(layers.MaxPooling1D(2)(two), 512), two, 256)
    model = keras.Model(inputs, layers.Conv1D(1, 1)(up(x, one, 128)))
    assert network_cost(model).flops == pytest.approx(8.7e9, rel=0.01)


def test_dict_inputs_are_fed_by_name():
    inputs = {"a": layers.Input((3,), name="a"), "b": layers.Input((2,), name="b")}
    model = keras.Model(inputs, layers.Concatenate()([layers.Dense(4)(inputs["a"]), inputs["b"]]))
    assert network_cost(model).flops == 2 * 3 * 4


def test_a_layer_of_unknown_cost_is_named():
    model = keras.Sequential([layers.Input((6, 3)), layers.LSTM(2, name="memory")])
    with pytest.raises(ReproError, match="memory"):
        network_cost(model)


def test_a_layer_that_is_never_called_is_named_rather_than_forgotten():
    class Half(keras.Model):
        def __init__(self):
            super().__init__()
            self.used, self.idle = layers.Dense(1), layers.Dense(1, name="idle")
            self.used.build((None, 3))
            self.idle.build((None, 3))

        def call(self, x):
            return self.used(x)

    with pytest.raises(ReproError, match="idle"):
        network_cost(Half(), np.zeros((1, 3), "float32"))
    with pytest.raises(ReproError, match="does not state its input shapes"):
        network_cost(Half())


def test_inputs_of_any_size_need_a_sample():
    model = keras.Sequential([layers.Input((None, 4)), layers.Conv1D(6, 3, padding="same")])
    with pytest.raises(ReproError, match="one sample"):
        network_cost(model)
    assert network_cost(model, np.zeros((1, 10, 4), "float32")).flops == 2 * 10 * 3 * 4 * 6


def test_counting_leaves_the_network_as_it_was():
    model = keras.Sequential([layers.Input((4,)), layers.BatchNormalization(), layers.Dropout(0.5)])
    before = [np.array(variable) for variable in model.variables]
    network_cost(model)
    after = [np.array(variable) for variable in model.variables]
    assert all((one == two).all() for one, two in zip(before, after, strict=True))
    assert keras.layers.Layer.__call__.__module__.startswith("keras.")
