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

from polyvae.core import Conditional
from polyvae.recipes import Recipe


def peer_model(recipe: Recipe, device: torch.device, reconstruction: str) -> Any:
    """pythae's VAE with the recipe's own networks inside; `reconstruction` is its "mse" or "bce"."""
    from pythae.models import VAE, VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder

    posterior, likelihood = recipe.model.posterior["z"], recipe.model.heads["x"].likelihood
    assert isinstance(posterior, Conditional)
    shape = tuple(recipe.call["spec"]["x"])  # pyright: ignore[reportOptionalSubscript]
    latent = recipe.model.prior["z"].loc.numel()

    class Encoder(BaseEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.net = posterior.net

        def forward(self, x: Tensor) -> Any:
            mean, log_variance = self.net(x).chunk(2, 1)
            return ModelOutput(embedding=mean, log_covariance=log_variance)

    class Decoder(BaseDecoder):
        def __init__(self) -> None:
            super().__init__()
            self.net = likelihood.net
            self.last = nn.Sigmoid() if reconstruction == "bce" else nn.Identity()

        def forward(self, z: Tensor) -> Any:
            return ModelOutput(reconstruction=self.last(self.net(z)))

    config = VAEConfig(input_dim=shape, latent_dim=latent, reconstruction_loss=reconstruction)
    return VAE(config, Encoder(), Decoder()).to(device)


def peer_trainer(model: Any, pictures: Tensor, batch_size: int) -> Any:
    """pythae's trainer of one epoch, with AdamW 1e-3, on float pictures."""
    from pythae.data.datasets import BaseDataset
    from pythae.trainers import BaseTrainer, BaseTrainerConfig

    logging.getLogger("pythae").setLevel(logging.ERROR)
    config = BaseTrainerConfig(
        output_dir=tempfile.mkdtemp(prefix="peer-"),
        num_epochs=1,
        per_device_train_batch_size=batch_size,
        learning_rate=1e-3,
        optimizer_cls="AdamW",
    )
    with _quiet():
        trainer = BaseTrainer(model, BaseDataset(pictures, torch.zeros(len(pictures))), training_config=config)
        trainer.prepare_training()
    return trainer


def peer_epoch(trainer: Any) -> None:
    """One epoch of its trainer, its bar and messages thrown away."""
    with _quiet():
        trainer.train_step(1)


@contextmanager
def _quiet() -> Iterator[None]:
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        yield
