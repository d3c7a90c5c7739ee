"""Training speed of `fit` beside a bare hand-written loop and beside the peer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.interleave import Result, compare
from benchmarks.peer import peer_model, peer_training, thesis_network
from polyvae import fit, recipes
from polyvae.data import DataError, load, wrap
from polyvae.model.spec import Spec
from polyvae.model.vae import Conditional
from polyvae.recipes import Recipe

BATCH = 128
OPTIONS: dict[str, dict[str, Any]] = {
    "thesis network, 3x32x32": {"network": "conv", "likelihood": "normal"},
    "784-512-16 perceptron": {"network": "mlp", "likelihood": "bernoulli"},
}


def training(device: torch.device, rounds: int) -> Iterator[Result]:
    """Each network beside the bare loop, then beside the peer: with plain torch layers, and with our own modules."""
    cpu = device.type == "cpu"
    pictures = torch.randint(0, 256, (5120, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    case = Case("thesis network, 3x32x32", pictures, 1, device, rounds)
    yield case.beside_bare_loop(bar=0.95)
    yield case.beside_peer("pythae, plain layers", thesis_network((3, 32, 32), 16), bar=1.3 if cpu else 10.0)
    yield case.beside_peer("pythae, our layers", None, bar=1.3 if cpu else 10.0)
    case = Case("784-512-16 perceptron", digits(), 4, device, rounds)
    yield case.beside_bare_loop(bar=0.95)
    yield case.beside_peer("pythae, our layers", None, bar=2.0 if cpu else 10.0)


def digits() -> Tensor:
    """MNIST's 50,000 where it is found, else as many generated shapes."""
    try:
        return load("mnist", download=False).train.tensors["x"]
    except DataError:
        return load("shapes", size=28, limit=50_000).train.tensors["x"]


@dataclass
class Case:
    """A network and the pictures it is trained on, for so many epochs a run."""

    name: str
    pictures: Tensor
    epochs: int
    device: torch.device
    rounds: int

    def recipe(self) -> Recipe:
        return recipes.vae(Spec(tuple(self.pictures.shape[1:])), latent=16, seed=0, **OPTIONS[self.name])

    def beside_bare_loop(self, bar: float) -> Result:
        bare, pictures = self.recipe(), self.pictures.to(self.device)
        return self._compare("bare loop", lambda: bare_loop(bare, pictures, self.epochs), bar)

    def beside_peer(self, label: str, networks: tuple[nn.Module, nn.Module] | None, bar: float) -> Result:
        reconstruction = "mse" if OPTIONS[self.name]["likelihood"] == "normal" else "bce"
        model = peer_model(self.recipe(), self.device, reconstruction, networks)
        floats = self.pictures.float() / 255
        return self._compare(label, lambda: peer_training(model, floats, BATCH, self.epochs), bar)

    def _compare(self, label: str, other: Callable[[], object], bar: float) -> Result:
        recipe, data = self.recipe(), wrap(self.pictures, validation=self.pictures[:BATCH])
        return compare(
            f"training, {self.name}",
            lambda: fit(recipe, data, epochs=self.epochs, batch_size=BATCH, device=self.device.type, progress=False),
            label,
            other,
            bar=bar,
            items=len(self.pictures) * self.epochs,
            unit="images/s",
            rounds=self.rounds,
        )


def bare_loop(recipe: Recipe, pictures: Tensor, epochs: int) -> None:
    """Training written out by hand on the recipe's networks: nothing but what the step needs."""
    bare, device = Bare(recipe, pictures), pictures.device
    for index in (each for _ in range(epochs) for each in torch.randperm(len(pictures), device=device).split(BATCH)):
        bare.step(index)


class Bare:
    """The step of that loop, and its pieces, which `benchmarks.step` times one by one."""

    def __init__(self, recipe: Recipe, pictures: Tensor) -> None:
        posterior, likelihood = recipe.model.posterior["z"], recipe.model.heads["x"].likelihood
        assert isinstance(posterior, Conditional)
        assert isinstance(likelihood, Conditional)
        model = recipe.model.to(pictures.device).to(memory_format=torch.channels_last)  # pyright: ignore
        self.optimizer = torch.optim.AdamW(model.train().parameters(), 1e-3, fused=True)
        self.encoder, self.decoder, self.pictures = posterior.net, likelihood.net, pictures
        self.bits = type(likelihood.family).__name__ == "Bernoulli"

    def step(self, index: Tensor) -> None:
        loss = self.loss(self.batch(index))
        self.backward(loss)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def batch(self, index: Tensor) -> Tensor:
        return self.pictures[index].float() / 255

    def loss(self, x: Tensor) -> Tensor:
        mean, raw = self.encoder(x).chunk(2, 1)
        scale = F.softplus(raw + 0.5413) + 1e-4
        z = mean + scale * torch.randn_like(mean)
        out = self.decoder(z)
        if self.bits:
            cost = F.binary_cross_entropy_with_logits(out, x, reduction="sum")
        else:
            cost = F.mse_loss(out, x, reduction="sum")
        kl = 0.5 * (mean.square() + scale.square() - 1 - 2 * scale.log()).sum()
        return (cost + kl) / len(x)

    def backward(self, loss: Tensor) -> None:
        loss.backward()
