"""A model observed by other masks than its recipe's, and a check of totals that would reveal hidden values."""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from polyvae.evaluation.blocks import source_of
from polyvae.model.vae import VAE, Values
from polyvae.observe.masks import SparsePixels
from polyvae.observe.readings import Readings
from polyvae.observe.transforms import Chain, Total, chain


@dataclass(frozen=True)
class Masked:
    """A model whose batches are observed by masks of one's own; evaluation takes it for a recipe.

    `of`, `name`: the value that is seen in part, and the name of its observation. `totals`: the names under which the
    model reads the total of the completed values. `sensors`: where the model reads sensors between points, these.
    `own`: whether all that observes is of this library, so that what is read is what the model's parts say.
    """

    model: VAE
    observe: Callable[[Values], Values]
    of: str
    name: str
    totals: frozenset[str]
    sensors: Readings | None = None
    own: bool = True


def masked(source: Any, masks: SparsePixels | None = None) -> Masked:
    """The same model observed by `masks` instead of its recipe's, under the names that the recipe gives them.

    Of a run with a law q(z | m) that was fitted to it, the model that draws from that. Without masks nothing is
    observed. Observing raises ValueError where the model reads a total over values that are not all seen, unless the
    batch holds that total. Raises TypeError for a model that draws no latents from a prior, ValueError for masks of a
    model that reads sensors between points.
    """
    completed = getattr(source, "completed", None)
    source = source if completed is None else completed()
    model, observe = source_of(source, "heads", "sample_latents", what="a completion")
    steps = chain(observe).transforms
    own = next((step for step in steps if isinstance(step, SparsePixels | Readings)), SparsePixels())
    rest = Chain(tuple(step for step in steps if not isinstance(step, SparsePixels | Readings)))
    totals = frozenset(step.to for step in steps if isinstance(step, Total) and step.name == own.of)
    sensors = own if isinstance(own, Readings) else None
    ours = all(type(step).__module__.startswith("polyvae.") for step in steps)
    made = Masked(model, rest, own.of, own.name, totals, sensors, ours)
    if masks is None:
        return made
    if sensors is not None:
        raise ValueError(
            "this model reads sensors between the points of a field, not pixels by a mask: "
            "pv.complete(run, readings) completes what they read"
        )
    through = chain(rest, replace(masks, of=own.of, name=own.name))

    def checked(values: Values) -> Values:
        batch = through(values)
        check_totals(totals - set(values), batch[own.name][:, batch[own.of].shape[1] :].bool())
        return batch

    return replace(made, observe=checked if totals else through)


def check_totals(missing: Set[str], mask: Tensor) -> None:
    """ValueError where the model reads the total of all values, which is neither given nor known from the seen ones."""
    if missing and (unseen := int((~mask).sum())):
        total = sorted(missing)[0]
        raise ValueError(
            f"the model reads {total!r}, the total of all values of an example, and {unseen} of them are not seen: "
            f"give it, as given={{{total!r}: ...}} or among the data's own values, or train a model that needs none, "
            f"with library='latent'"
        )
