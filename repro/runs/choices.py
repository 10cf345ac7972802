"""What the user chose for a run, checked before anything is made."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from repro.datasets.spec import ResolvedSpec
from repro.study import Study, get_study
from repro.training.recipe import check_changes

RECIPE_PREFIX = "recipe."


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
        for spec in study.data_specs:
            if self.experiment in spec.experiments:
                spec.resolve(self.preset, self.experiment, self.data_settings)
                break
        else:
            self.resolve_spec(study)
        check_changes(self.recipe_changes)
        return study
