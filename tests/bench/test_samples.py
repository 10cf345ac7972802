"""The data set that stands in for that of any preset."""

import numpy as np

from repro.bench.samples import repeated, sample_set
from repro.study import get_study


def test_values_are_repeated_and_cut_along_each_axis():
    values = np.array([[1, 2, 3], [4, 5, 6]])
    assert repeated(values, (3, 2)).tolist() == [[1, 2], [4, 5], [1, 2]]


def test_samples_have_the_papers_shapes_and_smokes_values():
    study = get_study("rheed_translator")
    dataset = sample_set(study, "paper")
    assert dataset.array("images").shape[1:] == (540, 720)
    smoke = sample_set(study, "smoke")
    assert np.array_equal(dataset.array("stoichiometry"), smoke.array("stoichiometry"))
    assert set(dataset.array("images")[3].ravel()) == set(smoke.array("images")[3].ravel())


def test_normalised_variables_have_their_moments():
    dataset = sample_set(get_study("mamba"), "smoke")
    mean, deviation = dataset.statistics("log_intensity")
    seen = dataset.array("log_intensity")[dataset.rows("train")]
    assert np.allclose([mean, deviation], [seen.mean(), seen.std()], rtol=1e-5)
    assert dataset.statistics("field_real")[0].shape == (16, 240)
