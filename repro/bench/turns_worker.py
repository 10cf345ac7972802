"""One of two codes that are timed in turns: a process that takes steps when it is told to.

It is run by its file, with another checkout in front of Python's path, so that the code of that is
timed: ``python -P turns_worker.py STUDY VARIANT PRESET PHASE``. Each line that it reads is a JSON
value and is answered by one: ``{"network": i}`` makes a network ready, ``{"steps": n}`` takes steps
and tells the time of one [s].
"""

from __future__ import annotations

import json
import os
import sys
from time import perf_counter
from typing import Any


def main() -> None:
    """Answer until there is nothing more to read."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print is no answer

    def answer(value: Any) -> None:
        answers.write(json.dumps(value) + "\n")
        answers.flush()

    from repro.bench.networks import list_networks
    from repro.bench.subject import Subject
    from repro.study import get_study

    study, variant, preset, phase = sys.argv[1:]
    networks = list_networks(get_study(study), variant, preset)
    answer([network.task.name for network in networks])
    asked = read()
    while asked is not None:
        network = networks[asked["network"]]
        recipe = network.task.recipe
        subject = Subject(network, recipe.precision)
        with subject.programs(phase, recipe.batch_size) as programs:
            epoch = programs.get("whole") or programs["ready"]
            for _ in range(2):  # the first compiles
                taken = _time_of(epoch, 1)
            parameters = None if phase == "data" else subject.model.count_params()
            answer({"seconds": taken, "most": subject.most_steps(recipe.batch_size),
                    "alike": [recipe.batch_size, parameters]})  # fmt: skip
            asked = read()
            while asked is not None and "steps" in asked:
                answer(_time_of(epoch, asked["steps"]))
                asked = read()


def read() -> Any:
    """Return what is asked next; None at the end."""
    line = sys.stdin.readline()
    return json.loads(line) if line else None


def _time_of(epoch: Any, n_steps: int) -> float:
    begin = perf_counter()
    n_done = sum(epoch(n_steps))
    return (perf_counter() - begin) / n_done


if __name__ == "__main__":
    main()
