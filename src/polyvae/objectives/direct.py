"""The bound of most examples, and of a share of them what a network without z is trained by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from polyvae.model.vae import VAE, Values
from polyvae.objectives.objective import Objective
from polyvae.objectives.schedules import Step


class Direct(Objective):
    """Minus the bound on log p(x | m), but of a `share` of the examples -log p(x | z = 0, m), in nats.

    loss = 1/B (sum_{b not chosen} -ELBO_b + sum_{b chosen} -log p(x_b | z = 0, m_b))

    `shapes`: of the latents, by name. The chosen are drawn anew at every step, of several examples all but one at most;
    in evaluation mode, where nothing is trained, there are none. So the decoder knows what z = 0 stands for: what is
    expected given m alone, by one pass in the place of a mean over draws. The terms and the bound that are reported are
    those of the others, 0 of a single example that is chosen.

    In the manner of the network without latents beside that with them of Sohn, Lee, Yan: Learning Structured Output
    Representation using Deep Conditional Generative Models, 2015, section 4.2.
    """

    def __init__(self, shapes: Mapping[str, Sequence[int]], share: float) -> None:
        super().__init__()
        if not 0 < share < 1:
            raise ValueError(f"share is one of the examples, above 0 and below 1; got {share}")
        self.shapes = {name: tuple(shape) for name, shape in shapes.items()}
        self.share = share

    def forward(self, model: VAE, batch: Values, step: Step = 0) -> dict[str, Tensor]:
        if not getattr(model, "training", True):
            return super().forward(model, batch, step)
        some = next(iter(batch.values()))
        chosen = torch.rand(len(some), device=some.device) < self.share
        if len(some) > 1:
            chosen[0] = False  # so that there is a bound to tell
        zeros = {name: (some.new_zeros(len(some), *shape), chosen) for name, shape in self.shapes.items()}
        draw = model(batch, self.samples, fixed=zeros)
        costs = {name: weighted.term(draw).mean(0) for name, weighted in self.terms.items()}  # pyright: ignore
        kept = torch.where(chosen, 0.0, 1.0)

        def told(value: Tensor) -> Tensor:
            return (value * kept).sum().detach() / kept.sum().clamp(min=1)

        loss = torch.where(chosen, costs["reconstruction"], costs["reconstruction"] + costs["kl"]).mean()
        return {"loss": loss, **{name: told(cost) for name, cost in costs.items()}, "bound": told(draw.elbo)}
