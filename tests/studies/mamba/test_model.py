"""The published network is the published one, and ours keeps to the physics it builds on."""

from __future__ import annotations

import numpy as np
import pytest

from repro.bench.flops import network_cost
from repro.studies.mamba import model
from repro.studies.mamba.simulate import BRAGG, ROD_H, ROD_K, bulk_field, films

PARAMETERS = {  # smooth films of 12 layers
    "n_layers": 12,
    "n_layers_varied": 0,
    "rough": False,
}


@pytest.fixture(scope="module")
def rods():
    return films(0, 64, 1, PARAMETERS)


@pytest.fixture(scope="module")
def scale(rods):
    field = np.stack([rods["field_real"], rods["field_imag"]])
    log_intensity = rods["log_intensity"]
    return model.FieldScale(
        float(log_intensity.mean()), float(log_intensity.std()), field.mean(1), field.std(1)
    )


def channels(scale, rods):
    z = (rods["log_intensity"] - scale.log_intensity_mean) / scale.log_intensity_deviation
    return z.transpose(0, 2, 1).astype(np.float32)


def test_faithful_network_has_the_published_parameters_layer_by_layer():
    # The paper's printed counts; another kernel, width or skip connection would change them.
    counts = [layer.count_params() for layer in model.faithful_unet().layers]
    counts = [count for count in counts if count]
    assert counts[:7] == [512, 49_280, 98_560, 196_864, 393_728, 786_944, 262_400]
    assert counts[7:] == [393_472, 196_864, 65_664, 98_432, 49_280, 129]


def test_faithful_network_costs_what_the_published_one_does():
    cost = network_cost(model.faithful_unet())
    assert cost.flops == pytest.approx(8.7e9, rel=0.01)
    assert model.faithful_unet((2, 4, 8)).output_shape == (None, 3840, 1)


def test_improved_network_costs_a_fortieth_of_the_published_pair(scale):
    ours = network_cost(model.improved_network(scale)).flops
    assert ours == pytest.approx(2 * 8.7e9 / 40, rel=0.02)


def test_distinct_rods_stand_for_all(rods):
    # (h, k) and (k, h) are the same rod: were they not, ten rods would lose information.
    for name in ("field_real", "field_imag", "log_intensity"):
        twins = rods[name][:, model.DISTINCT_RODS][:, model.DISTINCT_OF_ROD]
        np.testing.assert_allclose(twins, rods[name], atol=1e-3)
    assert set(zip(ROD_H[model.DISTINCT_RODS], ROD_K[model.DISTINCT_RODS], strict=True)) == {
        (h, k) for h in range(4) for k in range(h, 4)
    }


def test_modulus_layer_gives_the_measured_modulus(scale, rods):
    # A wrong constant would feed the correction a modulus that no film has.
    layer = model.MeasuredModulus(model._modulus_constants(scale))
    features, modulus = layer(channels(scale, rods))
    field = rods["field_real"] + 1j * rods["field_imag"]
    expected = np.abs(bulk_field() + field) * ~BRAGG
    expected = expected[:, model.DISTINCT_RODS].transpose(0, 2, 1)
    np.testing.assert_allclose(np.asarray(modulus), expected, rtol=2e-4, atol=2e-3)
    assert np.isfinite(np.asarray(features)).all()


def test_correction_vanishes_at_the_true_field_and_restores_the_modulus(scale, rods):
    correction = model.ModulusCorrection(model._correction_constants(scale))
    field = np.stack([rods["field_real"], rods["field_imag"]], axis=1)
    z = (field - scale.field_mean) / scale.field_deviation
    z = z[:, :, model.DISTINCT_RODS].transpose(0, 3, 1, 2).reshape(len(z), 240, 20)
    total = (bulk_field() + field[:, 0] + 1j * field[:, 1])[:, model.DISTINCT_RODS]
    modulus = (np.abs(total) * ~BRAGG).transpose(0, 2, 1).astype(np.float32)
    step = np.asarray(correction(z.astype(np.float32), modulus))
    assert np.median(np.abs(step)) < 1e-5
    assert np.all(step[:, BRAGG] == 0)
    doubled = np.asarray(correction(z.astype(np.float32), 2 * modulus))
    real, imaginary = doubled[..., :10], doubled[..., 10:]
    deviation = scale.field_deviation[:, model.DISTINCT_RODS].transpose(0, 2, 1)
    length = np.hypot(real * deviation[0], imaginary * deviation[1])
    np.testing.assert_allclose(length, modulus, rtol=0.02, atol=0.2)


def test_improved_network_gives_equal_rods_equal_fields(scale, rods):
    output = np.asarray(model.improved_network(scale, width=8)(channels(scale, rods)[:4]))
    assert output.shape == (4, 240, 32)
    twin = 4 * ROD_H + ROD_K
    np.testing.assert_array_equal(output[..., :16], output[..., :16][..., twin])
