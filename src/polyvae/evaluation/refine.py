"""Semi-amortised inference: for each example, gradient steps from what the encoder says of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from polyvae.checks.ranges import at_least
from polyvae.data.split import Split
from polyvae.evaluation.blocks import Progress, each_block, joined, seeded, source_of
from polyvae.evaluation.bounds import in_parts
from polyvae.model.distributions.point import Point
from polyvae.model.laws import repeat
from polyvae.model.parts import Conditional, shapes
from polyvae.model.precision import full, wide
from polyvae.model.vae import VAE, Values

DRAWS = 8  # of the latents for each step
ROUNDS = 8  # of so many draws by which start and end are compared, and as many others by which the gain is told
RATE = 0.1  # of the first step; it falls to zero with the last


class _Moved(nn.Module):
    """A posterior whose network's output, of each example, something is added to: `moved` [B, numbers].

    Below another latent, where the network reads K draws of each example, the same is added to all of them. `known` is
    the output where it is the same in each step.
    """

    def __init__(self, part: Conditional, moved: Tensor, known: Tensor | None) -> None:
        super().__init__()
        self.part, self.given, self.shapes = part, part.given, shapes(part)
        self.moved, self.known = moved, known

    def forward(self, values: Values) -> Distribution:
        raw = self.known if self.known is not None else full(self.part.net(*[values[name] for name in self.given]))
        return self.part.family(raw + repeat(self.moved, len(raw) // len(self.moved)))


@dataclass(frozen=True)
class Refinement:
    """What refining the posteriors of N examples gains, float64 [N], nats.

    `bound`: the plain bound of the refined posterior at 64 fresh draws. `gain`: how far that is above the encoder's at
    the same noise; 0 where the refined one was not `kept`, boolean [N].
    """

    bound: Tensor
    gain: Tensor
    kept: Tensor


def refinement(
    source: Any,
    split: Split,
    steps: int = 20,
    seed: int = 0,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
) -> Refinement:
    """The gain of the plain bound of every example by so many gradient steps on its posterior.

    It estimates the amortisation gap: what is lost because one network serves all examples. The approximation gap, that
    of the best law of the family to the exact posterior, remains. Raises as `refined`.

    Cremer, Li, Duvenaud: Inference Suboptimality in Variational Autoencoders, 2018.
    """

    source_of(source, "posterior", "centres", what="refining")

    def measure(model: VAE, batch: Values) -> dict[str, Tensor]:
        better, kept = refined(model, batch, steps)
        after, before = _bounds((better, model), batch)
        return {"bound": after, "gain": torch.where(kept, after - before, 0.0), "kept": kept}

    return Refinement(**joined(each_block(source, split, in_parts(measure, DRAWS), seed, device, progress)))


def refined(model: VAE, batch: Values, steps: int = 20) -> tuple[VAE, Tensor]:
    """The model with the posteriors of this batch refined, and in which examples that was kept, boolean [B].

    Adam climbs the plain bound of each example at a few draws, over what the encoder's networks put out: mean and scale
    of a normal, mean, scale and context of a flow. It is moved for each example alone; no weight is touched and none
    receives a gradient. Where the end is no better than the start, at draws of both that no step has seen, the start is
    kept. The model is one for this batch only. Draws follow torch's generators.

    Raises ValueError, by the latent's name, for posteriors that no network puts out, such as codes and parts of one's
    own, for points, which have no bound, and for laws without a gradient through their draws.

    Kim, Wiseman, Miller, Sontag, Rush: Semi-Amortized Variational Autoencoders, 2018.
    """
    at_least("refine", steps, 1, "gradient steps")
    with torch.inference_mode(False), torch.enable_grad():
        batch = {name: value.clone() for name, value in batch.items()}  # of inference mode nothing is differentiated
        known = _outputs(model, batch)
        moved = {name: torch.zeros_like(raw).requires_grad_() for name, (raw, _) in known.items()}
        better, values = _with(model, moved, known), list(moved.values())
        optimiser = torch.optim.Adam(values, lr=RATE)
        falling = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1 - step / steps)
        for _ in range(steps):
            bound = better(batch, DRAWS).elbo
            gradients = torch.autograd.grad(-torch.where(bound.isfinite(), bound, 0.0).sum(), values)
            for value, gradient in zip(values, gradients, strict=True):
                value.grad = gradient.nan_to_num(0.0, 0.0, 0.0)
            optimiser.step()
            falling.step()
    with torch.no_grad():
        found = {name: value.detach() for name, value in moved.items()}
        after, before = _bounds((_with(model, found, known), model), batch)
        kept = after > before
        found = {name: torch.where(kept.view(-1, *[1] * (each.ndim - 1)), each, 0.0) for name, each in found.items()}
        return _with(model, found, known), kept


def _outputs(model: VAE, batch: Values) -> dict[str, tuple[Tensor, bool]]:
    """What each posterior's network says of each example, at the centres of the latents above, and whether it reads
    any."""
    for name, part in model.posterior.items():
        if not isinstance(part, Conditional):
            raise ValueError(
                f"refine moves what a network says of a posterior; that of {name!r} is a {type(part).__name__}, "
                "which is none of polyvae.Conditional"
            )
    found: dict[str, tuple[Tensor, bool]] = {}
    with torch.no_grad():
        values = {**batch, **model.centres(batch)}
        for name, part in _parts(model):
            seen = model.featured(values, part.given)
            raw = full(part.net(*[seen[each] for each in part.given]))
            if isinstance(part.family(raw), Point):
                raise ValueError(f"refine raises a bound; the posterior of {name!r} is a point, which has none")
            found[name] = raw, bool(model.plan.reads(part) & set(model.plan.latents))
    return found


def _with(model: VAE, moved: Mapping[str, Tensor], known: Mapping[str, tuple[Tensor, bool]]) -> VAE:
    """The model with posteriors that are moved; all else is the same."""
    posteriors = {
        name: _Moved(part, moved[name], None if known[name][1] else known[name][0]) for name, part in _parts(model)
    }
    made = VAE(posteriors, dict(model.prior), dict(model.heads), dict(model.features), model.summed)
    return made.train(model.training)


def _parts(model: VAE) -> Iterator[tuple[str, Conditional]]:
    return ((name, part) for name, part in model.posterior.items() if isinstance(part, Conditional))


def _bounds(models: Sequence[VAE], batch: Values) -> list[Tensor]:
    """The plain bound of each model at common noise, float64 [B]."""
    noise, device = int(torch.randint(2**62, ())), next(iter(batch.values())).device
    found = []
    for model in models:
        with seeded(device, noise):
            found.append(torch.stack([wide(model(batch, DRAWS).elbo) for _ in range(ROUNDS)]).mean(0))
    return found
