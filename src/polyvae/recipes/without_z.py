"""The same networks without z: what a model of z and m makes of m alone, so that one sees what z is worth."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from polyvae.model.distributions.exact import Known
from polyvae.model.parts import Head, evaluation_mode
from polyvae.model.spec import Spec
from polyvae.model.vae import VAE, Values
from polyvae.objectives.objective import Objective
from polyvae.objectives.terms import Reconstruction
from polyvae.recipes.decoders import finished
from polyvae.recipes.recording import Recipe


class Zero(nn.Module):
    """A z of some shape that is known to be zero, one for each row of the value of a `name`: a bound is exact."""

    certain = True
    zero: Tensor

    def __init__(self, shape: Sequence[int], name: str) -> None:
        super().__init__()
        self.given = (name,)
        self.register_buffer("zero", torch.zeros(tuple(shape)), persistent=False)

    def forward(self, values: Values) -> Distribution:
        return Known(self.zero.expand(len(values[self.given[0]]), *self.zero.shape), self.zero.ndim)


def without_latents(recipe: Recipe, spec: Spec) -> Recipe:
    """log p(x | m), the likelihood of a recipe with z = 0: its networks, its masks, neither posterior nor prior.

    What reads z adds a constant to its first maps. Minus log p(x | m) is what is minimised, and the bound too. `spec`:
    of the data that the recipe was built for. The result is in no catalogue: a run of it is loaded with it,
    `Run.load(folder, recipe)`. Raises ValueError for a model no likelihood of which reads anything beside its latents,
    for latents that are summed over and for one that reads more than x and what is observed of it.
    """
    model, latents = recipe.model, set(recipe.model.plan.latents)
    if model.summed:
        raise ValueError(f"{sorted(model.summed)} are summed over, and have no zero")
    heads = {name: head for name, head in model.heads.items() if model.plan.reads(_likelihood(head)) - latents}
    alone = {name: head for name, head in heads.items() if not model.plan.reads(_likelihood(head)) & latents}
    heads = alone or heads  # one that reads none is what is left of the others
    if not heads:
        raise ValueError("no likelihood of this model reads anything beside its latents: without them it knows nothing")
    try:
        seen = recipe.observe({"x": torch.zeros(1, *spec.x)})
    except KeyError as error:  # of a value beside x
        raise ValueError(f"the model also reads {error.args[0]}; take one that reads m alone") from error
    if missing := set(model.conditions) - set(seen):
        raise ValueError(f"the model also reads {', '.join(sorted(missing))}; take one that reads m alone")
    given = {name: seen[name] for name in model.conditions}
    with evaluation_mode(model), torch.no_grad(), torch.random.fork_rng(devices=[]):
        drawn = model.sample_latents(given)
    rows = next(iter(given))
    posterior, prior = ({name: Zero(drawn[name].shape[1:], rows) for name in model.plan.latents} for _ in range(2))
    heads = {name: _once(head) for name, head in heads.items()}
    read = set().union(*(model.plan.reads(_likelihood(head)) for head in heads.values()))
    features = {name: feature for name, feature in model.features.items() if name in read}
    bare = VAE(posterior, prior, heads, features)
    return finished(bare, Objective({"reconstruction": Reconstruction()}), recipe.observe)


def _once(head: nn.Module) -> nn.Module:
    """A head that does not say anything of z = 0 beside what it says of z, which is the same here."""
    return Head(head.likelihood, head.of, head.weight, head.where) if isinstance(head, Head) else head


def _likelihood(head: nn.Module) -> nn.Module:
    return head.likelihood if isinstance(head, Head) else head
