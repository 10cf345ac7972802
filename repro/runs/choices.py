"""What the user chose for a run, checked before anything is made, and how it is computed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import (
    BaseModel,
    ConfigDict,
    SerializerFunctionWrapHandler,
    model_serializer,
)

from repro.datasets.spec import ResolvedSpec
from repro.study import Study, get_study
from repro.training.recipe import check_changes

RECIPE_PREFIX = "recipe."


@dataclass(frozen=True)
class Execution:
    """How a run is computed; no number depends on it but for rounding.

    Parameters
    ----------
    workers : int
        Processes that build the data set [1].
    devices : int
        Devices of this process that share a batch, under JAX [1].
    timeout_s : float, optional
        Time without a step after which one of several ranks gives up [s].
    way : str, optional
        How steps are taken, as `repro.training.ways.check_way` takes it.
    budget_s : float, optional
        Time that all of it may take [s]: it stops in time with what is whole on disk.
    """

    workers: int = 1
    devices: int = 1
    timeout_s: float | None = None
    way: str | None = None
    budget_s: float | None = None


DEFAULT_EXECUTION = Execution()


class Choices(BaseModel):
    """What the user chose for a run; None leaves the choice to the recipe or the data spec.

    Parameters
    ----------
    study, variant, preset, experiment : str
        What is trained, and on which data.
    settings : dict
        ``--set KEY=VALUE``: parameters of the data spec, or of the recipe as ``recipe.NAME``.
    precision : str, optional
        Keras dtype policy.
    xla : bool, optional
        Compile the training step with XLA.
    deterministic : bool
        Only operations that give the same bits each time.
    networks : tuple of str
        Which networks are trained and measured, ``*`` standing for any characters; empty for all.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    study: str
    variant: str = "faithful"
    preset: str = "smoke"
    experiment: str | None = None
    settings: dict[str, str] = {}
    precision: str | None = None
    xla: bool | None = None
    deterministic: bool = False
    networks: tuple[str, ...] = ()

    @model_serializer(mode="wrap")
    def _without_networks_for_all(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave the networks out where all are meant, as runs and hashes of before do."""
        content = serialize(self)
        if not self.networks:
            content.pop("networks", None)
        return content

    @property
    def data_settings(self) -> dict[str, str]:
        """The settings of the data spec."""
        return {k: v for k, v in self.settings.items() if not k.startswith(RECIPE_PREFIX)}

    @property
    def recipe_changes(self) -> dict[str, Any]:
        """The fields that every recipe of the run is given."""
        changes: dict[str, Any] = {
            key.removeprefix(RECIPE_PREFIX): value
            for key, value in self.settings.items()
            if key.startswith(RECIPE_PREFIX)
        }
        if self.precision is not None:
            changes["precision"] = self.precision
        if self.xla is not None:
            changes["jit_compile"] = self.xla
        return changes

    def resolve_spec(self, study: Study, seed: int | None = None) -> ResolvedSpec:
        """Return the study's data spec with preset, experiment and settings filled in."""
        spec = study.data_spec
        return spec.resolve(self.preset, self.experiment, self.data_settings, seed)

    def checked(self) -> Study:
        """Return the study, after a check that all that was chosen exists.

        Raises
        ------
        ReproError
            Naming what does not exist, and what does.
        """
        study = get_study(self.study)
        study.check_variant(self.variant)
        if self.networks:
            study.check_provides("separable")
        for spec in study.data_specs:
            if self.experiment in spec.experiments:
                spec.resolve(self.preset, self.experiment, self.data_settings)
                break
        else:
            self.resolve_spec(study)
        check_changes(self.recipe_changes)
        return study
