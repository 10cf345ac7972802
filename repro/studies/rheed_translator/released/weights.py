"""Where the released weights are, and what they are judged by; loads no network library itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from repro.datasets import downloads
from repro.datasets.store import Dataset
from repro.evaluation.metrics import Evaluation
from repro.released.state_dict import read_state_dict
from repro.study import ReleasedWeights

URL = (
    "https://github.com/hasanjawad001/rheed-universal-translator/"
    "releases/download/v1.0/model_weights.pth"
)


def fetch(path: str | Path, url: str = URL) -> Path:
    """Download the released weights; see `repro.datasets.downloads.fetch`."""
    return downloads.fetch(path, url, check=read_state_dict, option="--weights")


def evaluate(weights: Path, dataset: Dataset, progress: Callable[[int, int], None]) -> Evaluation:
    """Measure released weights; see `judging.evaluate`."""
    from repro.studies.rheed_translator.released import judging

    return judging.evaluate(weights, dataset, progress)


RELEASED = ReleasedWeights(
    fetch=fetch,
    evaluate=evaluate,
    assumption=(
        "That the released weights learnt from the 24 films of the authors' notebook, and from no "
        "other, is taken for granted: nothing says so."
    ),
)
