"""What the user chose for a run, checked before anything is made."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from repro.datasets.spec import ResolvedSpec
from repro.errors import ReproError
from repro.study import Study, get_study
from repro.training.recipe import Recipe

RECIPE_PREFIX = "recipe."
ANY_RECIPE = Recipe(epochs=1, batch_size=1, learning_rate=1.0)  # to try changes on


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

    def resolve_spec(self, seed: int | None = None) -> ResolvedSpec:
        """Return the data spec with the preset, the experiment and the settings filled in."""
        spec = get_study(self.study).data_spec
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
            self.resolve_spec()
        changed_recipe(ANY_RECIPE, self.recipe_changes)
        return study


def changed_recipe(recipe: Recipe, changes: dict[str, Any]) -> Recipe:
    """Return a recipe with some fields changed; texts are read as the field's type.

    Raises
    ------
    ReproError
        If a field is unknown, or its value does not fit.
    """
    known = [field.name for field in fields(recipe)]
    for name in changes:
        if name not in known:
            raise ReproError(f"--set recipe.{name}: a recipe has only {', '.join(known)}.")
    try:
        return Recipe.of({**recipe.described(), **changes})
    except ValidationError as error:
        first = error.errors()[0]
        name, value = first["loc"][0], first["input"]
        raise ReproError(f"--set recipe.{name}={value}: {first['msg']}.") from None
