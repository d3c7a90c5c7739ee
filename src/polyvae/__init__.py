"""Variational autoencoders: one core, every variant a few lines.

Names are imported when first used, so that the command line starts without torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from polyvae.version import __version__

if TYPE_CHECKING:
    from polyvae import (
        balance,
        codes,
        data,
        distributions,
        evaluation,
        families,
        figures,
        masks,
        networks,
        objectives,
        observe,
        posteriors,
        priors,
        recipes,
        second_stage,
        study,
        terms,
    )
    from polyvae.completion import complete
    from polyvae.core import VAE, Conditional, Draw, Family, Head, Latent, Observed, Values
    from polyvae.evaluation import evaluate
    from polyvae.meter import NonFiniteError
    from polyvae.objectives import ImportanceWeighted, Objective, Weighted
    from polyvae.recipes import Recipe
    from polyvae.run import Run
    from polyvae.settings import Settings
    from polyvae.spec import Column, Spec
    from polyvae.store import RunError
    from polyvae.training import fit

_HOMES = {
    "polyvae.completion": ("complete",),
    "polyvae.core": ("VAE", "Conditional", "Draw", "Family", "Head", "Latent", "Observed", "Values"),
    "polyvae.evaluation": ("evaluate",),
    "polyvae.meter": ("NonFiniteError",),
    "polyvae.objectives": ("ImportanceWeighted", "Objective", "Weighted"),
    "polyvae.recipes": ("Recipe",),
    "polyvae.run": ("Run",),
    "polyvae.settings": ("Settings",),
    "polyvae.spec": ("Column", "Spec"),
    "polyvae.store": ("RunError",),
    "polyvae.training": ("fit",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}
_MODULES = (
    "balance",
    "codes",
    "data",
    "distributions",
    "evaluation",
    "families",
    "figures",
    "masks",
    "networks",
    "objectives",
    "observe",
    "posteriors",
    "priors",
    "recipes",
    "second_stage",
    "study",
    "terms",
)

__all__ = [
    "VAE",
    "Column",
    "Conditional",
    "Draw",
    "Family",
    "Head",
    "ImportanceWeighted",
    "Latent",
    "NonFiniteError",
    "Objective",
    "Observed",
    "Recipe",
    "Run",
    "RunError",
    "Settings",
    "Spec",
    "Values",
    "Weighted",
    "__version__",
    "balance",
    "codes",
    "complete",
    "data",
    "distributions",
    "evaluate",
    "evaluation",
    "families",
    "figures",
    "fit",
    "masks",
    "networks",
    "objectives",
    "observe",
    "posteriors",
    "priors",
    "recipes",
    "second_stage",
    "study",
    "terms",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(import_module(_HOME[name]), name)
    elif name in _MODULES:
        value = import_module(f"polyvae.{name}")
    else:
        raise AttributeError(f"module 'polyvae' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
