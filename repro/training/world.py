"""The processes that train one network together; here, this one alone.

The training loop speaks to a `World` and does not know how many processes there are.
`repro.training.distributed` has the one with several.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras
    import numpy as np

    from repro.datasets.batches import Share
    from repro.training.recipe import Recipe
    from repro.training.state import State


class World:
    """One process alone.

    Attributes
    ----------
    rank : int
        Which of the processes this one is, from 0; rank 0 leads: it alone reads and writes the
        run's folder.
    size : int
        Number of processes.
    commit_steps : int
        Steps after which a training's state is kept in memory, to go on from when a rank is lost;
        0 where a lost rank ends the run.
    """

    rank = 0
    size = 1
    commit_steps = 0

    @property
    def leads(self) -> bool:
        """Whether this is the rank that writes."""
        return self.rank == 0

    def run(self, work: Callable[[], None]) -> None:
        """Do work in which all ranks take part; it may be called anew when ranks come or go."""
        work()

    def follow(self, recipe: Recipe) -> Recipe:
        """Return the recipe that the workers follow together.

        Raises
        ------
        ReproError
            If they cannot follow it.
        """
        from repro.training.devices import device_count

        return recipe.for_workers(device_count())

    def lead(self, function: Callable[[], Any]) -> Any:
        """Return on every rank what a function returns, or raises, on the leading one."""
        return function()

    def agree(self, facts: Mapping[str, str]) -> None:
        """Refuse ranks that differ in a fact from the leading one.

        Parameters
        ----------
        facts : mapping
            Text by name, such as ``{"data": checksum}``.

        Raises
        ------
        ReproError
            Naming the ranks and what differs.
        """

    def sum(self, values: Sequence[float]) -> list[float]:
        """Return the sums of numbers over the ranks."""
        return list(values)

    def average(self, arrays: list[np.ndarray]) -> list[np.ndarray]:
        """Return the means of arrays over the ranks."""
        return arrays

    def average_gradients(self, optimizer: keras.optimizers.Optimizer, compression: str) -> None:
        """Make an optimizer apply the gradient of the whole batch.

        Parameters
        ----------
        optimizer : keras.optimizers.Optimizer
            The outermost one, so that loss scaling and clipping see the whole batch's gradient
            and every rank decides alike.
        compression : str
            ``"none"``, ``"float16"`` or ``"bfloat16"``: the format in which gradients travel.
        """

    def take(self, share: Share) -> None:
        """Say which part of a batch the next step is on."""

    def rows_of_batch(self, draw: Callable[[Any], Any], n_samples: Any) -> Any:
        """Return the rows of this rank's samples in an array that is drawn for a whole batch.

        Parameters
        ----------
        draw : callable
            Called with a number of samples; returns that many rows, the first of which do not
            depend on their number.
        n_samples : int or tensor
            Samples of this rank [1].
        """
        return draw(n_samples)

    def commit(self, key: str, state: Callable[[], State]) -> None:
        """Keep a training's state in memory; a good moment for ranks to come and go."""

    def committed(self, key: str) -> State | None:
        """Return the state that was kept last of a training, if any was."""
        return None


ALONE = World()

_current = ALONE


def current() -> World:
    """Return the processes that train together now."""
    return _current


def make_current(world: World) -> None:
    """Say which processes train together from now on."""
    global _current
    _current = world
