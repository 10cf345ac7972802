"""What sixteen passes of the beam in place of fifty change in a pattern, beside counting noise."""

from dataclasses import replace

import numpy as np

from repro.datasets.spec import load_spec
from repro.studies.interface_dcnn import crystal, simulate
from repro.studies.interface_dcnn.examples import bins_summed

FEW, MANY = 16, 50  # passes at preset paper, and in the paper
ELECTRONS = (1e6, 1e5)  # in a pattern: the most that training and evaluation count, and a tenth


def test_fewer_passes_change_less_than_counting_noise(benchmark):
    """One line of a column of preset paper, read at its five thicknesses.

    ``change_over_counting_noise_of_1e+05`` is the root mean square of what changes in a bin, over
    what the counting noise of so many electrons changes in it, in the patterns as the network sees
    them. Of 1e6 electrons it is more than 1: not even fifty passes are averaged as far as that.
    """
    spec = load_spec("interface_dcnn").resolve("paper")
    line = replace(simulate.Simulation(**spec.parameters), n_lines=1)
    exchanged = crystal.step(line.n_cells, line.n_cells // 2)

    def patterns():
        runs = [replace(line, n_passes=n) for n in (FEW, MANY)]
        return [simulate.diffract(run, exchanged, index=0, seed=spec.seed)[0] for run in runs]

    few, many = benchmark.pedantic(patterns, rounds=1)
    few, many = (bins_summed(p.astype(float), line.n_bins // 32) for p in (few, many))
    change = np.sqrt(np.mean((few - many) ** 2, axis=(1, 2, 3, 4)))
    ratios = {n: change / np.sqrt(np.mean(many / n, axis=(1, 2, 3, 4))) for n in ELECTRONS}
    benchmark.extra_info |= {
        f"change_over_counting_noise_of_{n:.0e}": float(by_thickness.max())
        for n, by_thickness in ratios.items()
    }
    assert ratios[min(ELECTRONS)].max() < 1
