"""Which networks of a study are timed."""

import pytest

from repro.bench.networks import list_networks
from repro.errors import ReproError
from repro.study import get_study


def test_networks_that_differ_in_their_examples_alone_are_timed_once():
    named = {
        n.task.name: n.stands_for for n in list_networks(get_study("mamba"), "faithful", "paper")
    }
    assert named == {"real": ("real", "imag")}
    folds = list_networks(get_study("rheed_translator"), "faithful", "smoke")
    assert [(n.task.name, len(n.stands_for)) for n in folds] == [("all", 3), ("gated_cnn_00", 2)]


def test_a_study_needs_nothing_for_it_and_stages_that_need_others_get_untrained_ones(decays):
    networks = {n.task.name: n for n in list_networks(get_study(decays), "faithful", "smoke")}
    x, y = networks["time_constant"].task.load(networks["time_constant"].examples[:3])
    assert (len(x), len(y)) == (3, 3)


def test_an_unknown_variant_is_refused():
    with pytest.raises(ReproError, match="no variant 'fast'"):
        list_networks(get_study("mamba"), "fast", "desk")
