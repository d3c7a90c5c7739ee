"""Training speed of `fit` beside a bare hand-written loop and beside the peer."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.interleave import Result, compare
from benchmarks.peer import peer_epoch, peer_model, peer_trainer
from polyvae import fit, recipes
from polyvae.core import Conditional
from polyvae.recipes import Recipe
from polyvae.spec import Spec

BATCH = 128
CASES = {
    # name: (shape, recipe options, pictures an epoch, bar beside the bare loop, bar beside the peer on a CPU)
    "thesis network, 3x32x32": ((3, 32, 32), {"network": "conv", "likelihood": "normal"}, 2560, 0.95, 1.3),
    "784-512-16 perceptron": ((1, 28, 28), {"network": "mlp", "likelihood": "bernoulli"}, 25600, 0.90, 2.0),
}


def training(device: torch.device, rounds: int) -> Iterator[Result]:
    """Each network beside the bare loop, then beside the peer."""
    for name, (shape, options, count, bare_bar, peer_bar) in CASES.items():
        generator = torch.Generator().manual_seed(0)
        pictures = torch.randint(0, 256, (count, *shape), dtype=torch.uint8, generator=generator)
        held_out = pictures[:BATCH]
        peer_bar = peer_bar if device.type == "cpu" else 10.0

        def ours(recipe: Recipe, x: Tensor = pictures, y: Tensor = held_out) -> None:
            from polyvae.data import wrap

            fit(recipe, wrap(x, validation=y), epochs=1, batch_size=BATCH, device=device.type, progress=False)

        recipe = recipes.vae(Spec(shape), latent=16, seed=0, **options)
        bare = copy.deepcopy(recipe)
        yield compare(
            f"training, {name}",
            lambda r=recipe: ours(r),
            "bare loop",
            lambda r=bare, x=pictures: bare_loop(r, x.to(device), device),
            bar=bare_bar,
            items=count,
            unit="images/s",
            rounds=rounds,
        )
        model = peer_model(copy.deepcopy(recipe), device, "mse" if options["likelihood"] == "normal" else "bce")
        trainer = peer_trainer(model, pictures.float() / 255, BATCH)
        yield compare(
            f"training, {name}",
            lambda r=recipe: ours(r),
            "pythae",
            lambda t=trainer: peer_epoch(t),
            bar=peer_bar,
            items=count,
            unit="images/s",
            rounds=rounds,
        )


def bare_loop(recipe: Recipe, pictures: Tensor, device: torch.device) -> None:
    """One epoch written out by hand on the recipe's networks: nothing but what the step needs."""
    posterior, likelihood = recipe.model.posterior["z"], recipe.model.heads["x"].likelihood
    assert isinstance(posterior, Conditional)
    assert isinstance(likelihood, Conditional)
    model = recipe.model.to(device).to(memory_format=torch.channels_last).train()  # pyright: ignore[reportCallIssue]
    optimiser = torch.optim.AdamW(model.parameters(), 1e-3, fused=True)
    bernoulli = type(likelihood.family).__name__ == "Bernoulli"
    for index in torch.randperm(len(pictures), device=device).split(BATCH):
        x = pictures[index].float() / 255
        mean, raw = posterior.net(x).chunk(2, 1)
        scale = F.softplus(raw + 0.5413) + 1e-4
        z = mean + scale * torch.randn_like(mean)
        out = likelihood.net(z)
        if bernoulli:
            cost = F.binary_cross_entropy_with_logits(out, x, reduction="sum")
        else:
            cost = F.mse_loss(out, x, reduction="sum")
        kl = 0.5 * (mean.square() + scale.square() - 1 - 2 * scale.log()).sum()
        loss = (cost + kl) / len(x)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
