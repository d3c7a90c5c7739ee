"""Held-out log-likelihood of counts beside scvi-tools, the same rows, widths, epochs and importance samples."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

import numpy as np
import torch
from torch import Tensor

import polyvae as pv
from polyvae.data import wrap
from polyvae.data.cuts import cut
from polyvae.data.split import Split
from polyvae.evaluation import importance_bound

LAWS = {"negative-binomial": "nb", "zero-inflated-negative-binomial": "zinb"}
SAMPLES, HELD_OUT, VALIDATION, WIDTH, LATENT = 100, 0.2, 0.1, 128, 10


@dataclass(frozen=True)
class Table:
    """Counts x [N, genes], float32, with batch labels y [N], cut once into training and held-out rows."""

    name: str
    x: Tensor
    y: Tensor
    epochs: int

    def rows(self) -> tuple[Tensor, Tensor]:
        """Indices of the training rows and of the held-out ones."""
        train, held = cut(len(self.x), [HELD_OUT], 0)
        return train, held


@dataclass(frozen=True)
class Comparison:
    """Held-out log-likelihoods of one law on one table, nats a row, one number a seed."""

    table: str
    law: str
    ours: list[float]
    theirs: list[float]

    @property
    def leads(self) -> list[float]:
        """How much better ours is, seed by seed."""
        return [mine - other for mine, other in zip(self.ours, self.theirs, strict=True)]

    def row(self) -> list[str]:
        cells = [f"{mean(found):.2f} ± {stdev(found):.2f}" for found in (self.ours, self.theirs)]
        spread = f"{min(self.leads):+.2f} to {max(self.leads):+.2f}"
        held = "yes" if mean(self.leads) >= 0 else "**no**"
        return [self.table, self.law, *cells, f"**{mean(self.leads):+.2f}**", spread, held]


HEADER = ["table", "law", "polyvae", "scvi-tools", "lead", "over seeds", "at least equal"]


def counts(seeds: int) -> Iterator[Comparison]:
    """Every table with every law over so many seeds, at least two."""
    quiet()
    for table in (synthetic(), simulated()):
        for law in LAWS:
            runs = [(ours(table, law, seed), theirs(table, law, seed)) for seed in range(seeds)]
            yield Comparison(table.name, law, *(list(column) for column in zip(*runs, strict=True)))


def quiet() -> None:
    """One thread, which networks of 128 units want, and none of the peer's announcements of devices and epochs."""
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")


def synthetic() -> Table:
    """The peer's own synthetic data, 400 x 100 in two batches, drawn with seed 0."""
    import scvi

    scvi.settings.seed = 0
    data = scvi.data.synthetic_iid()
    y = torch.from_numpy(data.obs["batch"].astype("category").cat.codes.to_numpy().astype(np.int64))
    return Table("synthetic_iid, 400 x 100", torch.from_numpy(np.asarray(data.X, dtype=np.float32)), y, 100)


def simulated(count: int = 5000, genes: int = 200, seed: int = 0) -> Table:
    """Six factors, log-normal totals, a dispersion a gene, two batches, and a tenth of the counts lost."""
    draw = np.random.default_rng(seed)
    z = draw.standard_normal((count, 6))
    batch = draw.integers(0, 2, count)
    shift = 0.4 * draw.standard_normal((2, genes))
    logits = draw.normal(0, 1, genes) + z @ draw.normal(0, 0.5, (6, genes)) + shift[batch]
    shares = np.exp(logits - logits.max(1, keepdims=True))
    total = draw.lognormal(np.log(1000), 0.4, (count, 1))
    mean_ = total * shares / shares.sum(1, keepdims=True)
    theta = draw.lognormal(1.0, 0.7, genes)
    x = draw.poisson(draw.gamma(theta, mean_ / theta)) * (draw.random((count, genes)) > 0.1)
    return Table("simulated, 5,000 x 200", torch.from_numpy(x.astype(np.float32)), torch.from_numpy(batch), 40)


def ours(table: Table, law: str, seed: int) -> float:
    """Mean over the held-out rows of the importance-weighted bound on log p(x | library, batch)."""
    train, held = table.rows()
    data = wrap((table.x[train], table.y[train]), validation=VALIDATION, test=0, seed=seed)
    recipe = pv.recipes.count_vae(
        data, likelihood=law, latent=LATENT, widths=(WIDTH,), condition=True, library="observed", seed=seed
    )
    pv.fit(recipe, data, epochs=table.epochs, seed=seed, device="cpu", progress=False)
    rows = Split({"x": table.x[held], "y": table.y[held]})
    return float(importance_bound(recipe, rows, samples=SAMPLES).mean())


def theirs(table: Table, law: str, seed: int) -> float:
    """The same of scVI with its own defaults, but the warm-up of its KL: a quarter of the epochs, for its 400 are more
    than there are, and cost it several nats.
    """
    import anndata
    import scvi

    scvi.settings.seed = seed
    whole = anndata.AnnData(table.x.numpy(), obs={"batch": [f"b{label}" for label in table.y.tolist()]})
    whole.obs_names = [str(row) for row in range(len(table.x))]
    train, held = (whole[index.numpy()].copy() for index in table.rows())
    scvi.model.SCVI.setup_anndata(train, batch_key="batch")
    model: Any = scvi.model.SCVI(train, n_hidden=WIDTH, n_latent=LATENT, n_layers=1, gene_likelihood=LAWS[law])
    model.train(
        max_epochs=table.epochs,
        train_size=1 - VALIDATION,
        accelerator="cpu",
        plan_kwargs={"n_epochs_kl_warmup": table.epochs // 4},
        enable_progress_bar=False,
        logger=False,
    )
    found = model.get_marginal_ll(held, n_mc_samples=SAMPLES, return_mean=False, n_mc_samples_per_pass=20)
    return float(found.double().mean())
