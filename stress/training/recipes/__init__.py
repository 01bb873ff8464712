"""Ways of training by name: plain, and those of the papers."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, cast

from faceswap_hq.errors import UserError
from faceswap_hq.training.settings import from_dict
from stress.training.recipe import Recipe

#: Name -> module and class; modules are imported when their recipe is asked for.
_WHERE = {
    "plain": ("stress.training.recipe", "Recipe"),
    "frequency-mask": ("stress.training.recipes.frequency_mask", "FrequencyMask"),
    "self-blended": ("stress.training.recipes.self_blended", "SelfBlended"),
    "locate-and-verify": ("stress.training.recipes.locate_and_verify", "LocateAndVerify"),
    "adversarial-blur": ("stress.training.recipes.adversarial_blur", "AdversarialBlur"),
}
RECIPES = tuple(_WHERE)


def make_recipe(name: str, options: Mapping[str, Any] | None = None) -> Recipe:
    """A recipe by its name.

    Args:
        name: One of :data:`RECIPES`.
        options: Values of its settings.

    Raises:
        UserError: There is no such recipe, or it has no such option, or a value is not possible.
    """
    if name not in _WHERE:
        raise UserError(f"There is no recipe {name!r}.", f"Known: {', '.join(RECIPES)}.")
    module, kind = _WHERE[name]
    try:
        return cast(Recipe, from_dict(getattr(importlib.import_module(module), kind), dict(options or {}), name))
    except ValueError as error:
        raise UserError(f"The recipe {name} cannot be so: {error}.") from error
