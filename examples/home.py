"""Draws the six pictures of the site's home: python examples/home.py [NAME ...], all of them where none is named.

MNIST is found or fetched as everywhere; the wine table comes with scikit-learn. Everything follows from seed 0.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from sklearn.datasets import load_wine

import polyvae as pv
from polyvae.figures.plots import png
from polyvae.figures.style import finish, legend, line
from polyvae.observe.masks import observation

OUT = Path(__file__).parents[1] / "docs" / "images" / "home"
PICTURES = 10_000  # of MNIST, to train on


def trained(name: str, epochs: int, **options: object) -> tuple[pv.Run, pv.data.Data]:
    """A recipe trained on `PICTURES` pictures of MNIST."""
    data = pv.data.load("mnist", limit=PICTURES)
    run = pv.fit(pv.recipes.named(name)(data, seed=0, **options), data, epochs=epochs)
    return run, data


def sample() -> None:
    """Draws from the prior of a VAE."""
    run, _ = trained("vae", 15, latent=16, network="mlp", likelihood="bernoulli")
    pv.figures.save_montage(OUT / "sample.png", pv.figures.samples(run, None, 3, 16).pictures, scale=2)


def compress() -> None:
    """Pictures, their codes as grey levels, and what these are decoded to."""
    run, data = trained("vq_vae", 4, codes=64)
    x = data.test.batch(torch.arange(16))["x"]
    codes = run.encode(x)
    shown = (codes.float() / 63).unsqueeze(1).repeat_interleave(4, 2).repeat_interleave(4, 3)
    rows = torch.stack([x, shown, run.reconstruct(x)])
    pv.figures.save_montage(OUT / "compress.png", rows.numpy(), scale=2)


def complete() -> None:
    """Digits from 40 of their pixels."""
    options = {"network": "mlp", "widths": (256,), "decoder": "flat", "likelihood": "bernoulli"}
    run, data = trained("arbitrary_conditioning", 12, exponent=10, **options)
    made = pv.figures.completions(run, data.test, observation("uniform", 40), count=4)
    pv.figures.draw(made, OUT / "complete.png", "From 40 of 784 pixels")


def represent() -> None:
    """Where the classes lie, which the model never saw."""
    run, data = trained("vae", 15, latent=2, network="mlp", likelihood="bernoulli")
    pv.figures.draw(pv.figures.latent_map(run, data.test), OUT / "represent.png", "Codes of digits, coloured by class")


def table() -> None:
    """Columns of a table, and what a model of them draws."""
    wines = load_wine(as_frame=True).frame.sample(frac=1, random_state=0)  # they are sorted by class
    data = pv.data.wrap(wines[["flavanoids", "color_intensity", "target"]])
    run = pv.fit("vae", data, epochs=300)
    pv.figures.draw(pv.figures.samples(run, data.train, 40, 40), OUT / "table.png", "Three columns of 178 wines")


def compare() -> None:
    """The bound of four recipes, epoch by epoch."""
    data, epochs = pv.data.load("digits"), 60
    bounds = {}
    for name in ("ppca", "vae", "vamp_prior", "two_level"):
        options = {} if name == "ppca" else {"network": "mlp"}
        run = pv.fit(pv.recipes.named(name)(data, latent=8, seed=0, **options), data, epochs=epochs)
        found = [row["validation_bound"] for row in run.history]
        bounds[name] = np.array(found * (epochs if len(found) == 1 else 1))  # a closed form has one
    drawn = Figure(figsize=(8, 3.2), layout="constrained")
    axes = drawn.add_subplot()
    for place, (name, bound) in enumerate(bounds.items()):
        axes.plot(np.arange(1, epochs + 1), bound, label=name, markevery=6, **line(place))
    axes.set_ylim(bottom=-20)
    finish(axes, "Validation bound on digits", "epoch", "bound on log p(x), nats")
    legend(drawn)
    (OUT / "compare.png").write_bytes(png(drawn))


DRAWN = {made.__name__: made for made in (sample, compress, complete, represent, table, compare)}

if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[1:] or DRAWN:
        DRAWN[name]()
        print(OUT / f"{name}.png", flush=True)
