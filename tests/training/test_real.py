"""A short training on real pictures, with a bar: the thesis network on 10,000 pictures of MNIST for three epochs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polyvae as pv

BAR = -125.0  # nats; 784 independent Bernoulli pixels with the training mean reach -206


def test_three_epochs_on_mnist_beat_the_bar(real_data: Callable[[str], Path | None]) -> None:
    folder = real_data("mnist")
    if folder is None:
        data, epochs, bar = pv.data.load("digits"), 15, -27.0
    else:
        data, epochs, bar = pv.data.load("mnist", folder.parent, limit=10_000), 3, BAR
    run = pv.fit(pv.recipes.vae(data.spec, latent=16, network="conv", seed=0), data, epochs=epochs)
    assert run.history[-1]["validation_bound"] > bar
    assert run.history[-1]["validation_bound"] > run.history[0]["validation_bound"]
