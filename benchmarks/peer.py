"""The peer, pythae, around our networks: same layers, batch, optimiser and objective."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any

import torch
from torch import Tensor, nn

from polyvae.model.vae import Conditional
from polyvae.recipes import Recipe


def peer_model(
    recipe: Recipe, device: torch.device, reconstruction: str, networks: tuple[nn.Module, nn.Module] | None = None
) -> Any:
    """pythae's VAE around the given networks, or the recipe's own; `reconstruction` is its "mse" or "bce"."""
    from pythae.models import VAE, VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder

    posterior, likelihood = recipe.model.posterior["z"], recipe.model.heads["x"].likelihood
    assert isinstance(posterior, Conditional)
    assert isinstance(likelihood, Conditional)
    encoder, decoder = networks or (posterior.net, likelihood.net)
    shape = tuple(recipe.call["spec"]["x"])  # pyright: ignore[reportOptionalSubscript]
    latent = recipe.model.prior["z"].loc.numel()

    class Encoder(BaseEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.net = encoder

        def forward(self, x: Tensor) -> Any:
            mean, log_variance = self.net(x).chunk(2, 1)
            return ModelOutput(embedding=mean, log_covariance=log_variance)

    class Decoder(BaseDecoder):
        def __init__(self) -> None:
            super().__init__()
            self.net = decoder
            self.last = nn.Sigmoid() if reconstruction == "bce" else nn.Identity()

        def forward(self, z: Tensor) -> Any:
            return ModelOutput(reconstruction=self.last(self.net(z)))

    config = VAEConfig(input_dim=shape, latent_dim=latent, reconstruction_loss=reconstruction)
    return VAE(config, Encoder(), Decoder()).to(device)


def peer_training(model: Any, pictures: Tensor, batch_size: int, epochs: int) -> None:
    """pythae's trainer on float pictures with AdamW 1e-3: its epochs, without its evaluation and saving."""
    from pythae.data.datasets import BaseDataset
    from pythae.trainers import BaseTrainer, BaseTrainerConfig

    logging.getLogger("pythae").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder, quiet():
        config = BaseTrainerConfig(
            output_dir=folder,
            num_epochs=epochs,
            per_device_train_batch_size=batch_size,
            learning_rate=1e-3,
            optimizer_cls="AdamW",
        )
        trainer = BaseTrainer(model, BaseDataset(pictures, torch.zeros(len(pictures))), training_config=config)
        trainer.prepare_training()
        for epoch in range(epochs):
            trainer.train_step(epoch + 1)


def thesis_network(shape: tuple[int, int, int], latent: int) -> tuple[nn.Module, nn.Module]:
    """The thesis's encoder and decoder in torch's own layers, as one would write them; 16 divides the sides."""
    channels, widths = shape[0], (32, 64, 128, 256)
    side = shape[1] // 16
    down: list[nn.Module] = []
    for before, after in zip((channels, *widths), widths, strict=False):
        down += [nn.Conv2d(before, after, 3, 2, 1), nn.BatchNorm2d(after), nn.LeakyReLU()]
    up: list[nn.Module] = []
    for before, after in ((256, 128), (128, 64), (64, 32), (32, 32)):
        up += [nn.ConvTranspose2d(before, after, 3, 2, 1, 1), nn.BatchNorm2d(after), nn.LeakyReLU()]
    size = 256 * side * side
    encoder = nn.Sequential(*down, nn.Flatten(), nn.Linear(size, 2 * latent))
    first = [nn.Linear(latent, size), nn.Unflatten(1, (256, side, side))]
    return encoder, nn.Sequential(*first, *up, nn.Conv2d(32, channels, 3, padding=1))


@contextmanager
def quiet() -> Iterator[None]:
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        yield
