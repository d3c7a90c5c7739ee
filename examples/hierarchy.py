"""Two stochastic layers as importance-weighted autoencoders were first measured, and ladders beside them.

784-200-200-100 and 100-100-100-50 with tanh, inferred from below, trained by the plain bound (`vae`) and by the
importance-weighted one (`iwae`) of k draws on MNIST binarised anew each time; a ladder of perceptrons with the same
widths, inferred from above; a ladder of maps. Each is a run of its own; run again, it goes on where it was. What is
told is the mean of -log p(x) by so many draws over a seeded subset of the test part, with its standard error, and what
each latent costs.

Burda, Grosse, Salakhutdinov: Importance Weighted Autoencoders, 2016; Sonderby, Raiko, Maaloe, Sonderby, Winther: Ladder
Variational Autoencoders, 2016.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

import polyvae as pv
from polyvae.data import Data
from polyvae.data.cuts import shuffled
from polyvae.model.families.real import DiagonalNormal
from polyvae.model.networks import mlp
from polyvae.model.networks.prepared import prepared
from polyvae.objectives.terms import KL, Reconstruction
from polyvae.recipes.decoders import finished
from polyvae.recipes.parts import decoder_family

WIDTHS, DIMENSIONS = (200, 100), (100, 50)  # of the networks and latents, from the bottom
PUBLISHED = {"vae-1": 85.33, "vae-5": 85.01, "vae-50": 84.78, "iwae-5": 83.89, "iwae-50": 82.90}
MARK = 82.0  # nats that a ladder of few groups stays below where it is trained for long


def bottom_up(data: Data, objective: torch.nn.Module) -> pv.Recipe:
    """q(z1 | x) q(z2 | z1), p(z2) p(z1 | z2) p(x | z1), each network two hidden layers of one width."""
    build, spec, normal = partial(mlp, activation=torch.nn.Tanh, centred=True), data.spec, DiagonalNormal()

    def part(given: str, source: tuple[int, ...], target: int, width: int) -> pv.Conditional:
        net = build([source], (normal.size(target),), (width, width))
        return pv.Conditional(prepared(net, spec, (given,)), normal, given)

    (wide, narrow), (low, top) = WIDTHS, DIMENSIONS
    torch.manual_seed(0)
    family = decoder_family("bernoulli", spec)
    decode = build([(low,)], spec.x, (wide, wide))
    model = pv.VAE(
        {"z1": part("x", spec.x, low, wide), "z2": part("z1", (low,), top, narrow)},
        {"z2": pv.priors.StandardNormal(top), "z1": part("z2", (top,), low, narrow)},
        pv.Conditional(decode, family, "z1"),
    )
    return finished(model, objective, pv.Recipe(model, objective).observe)


def plain(samples: int) -> torch.nn.Module:
    return pv.Objective({"reconstruction": Reconstruction(), "kl": KL()}, samples)


def rungs(data: Data, **options: Any) -> pv.Recipe:
    return pv.recipes.ladder(data, likelihood="bernoulli", seed=0, **options)


METHODS: dict[str, Callable[[Data], pv.Recipe]] = {
    **{f"vae-{k}": partial(lambda k, data: bottom_up(data, plain(k)), k) for k in (1, 5, 50)},
    **{f"iwae-{k}": partial(lambda k, data: bottom_up(data, pv.ImportanceWeighted(k)), k) for k in (5, 50)},
    "ladder": partial(
        rungs,
        groups=(1, 1),
        network="mlp-tanh",
        widths=WIDTHS,
        latent=DIMENSIONS[::-1],
        blocks=2,
        merge="precision",
        kl_warmup=2000,
    ),
    "ladder-maps": partial(rungs, groups=(2, 1), widths=(16, 32), kl_warmup=2000),
}


def main(arguments: Sequence[str] | None = None) -> list[dict[str, Any]]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--limit", type=int, default=None, help="training pictures; all, where none is given")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--batch-size", type=int, default=100)
    parser.add_argument("--draws", type=int, default=5000, help="of the latents, for log p(x)")
    parser.add_argument("--pictures", type=int, default=1000, help="of the test part that are scored")
    parser.add_argument("--out", type=Path, default=Path("runs/hierarchy"))
    asked = parser.parse_args(arguments)

    data = pv.data.load("mnist", binarise="dynamic", limit=asked.limit)
    judged = data.test.take(shuffled(len(data.test), 0)[: asked.pictures])
    rows = []
    for name in asked.methods:
        settings: dict[str, Any] = {"epochs": asked.epochs, "batch_size": asked.batch_size, "schedule": "cosine"}
        folder = asked.out / name
        run = pv.fit(METHODS[name](data), data, folder, resume=True, weight_decay=0.0, device="cpu", **settings)
        report = pv.evaluate(run, judged, samples=asked.draws)
        rows.append({"method": name, "epochs": asked.epochs, "published": PUBLISHED.get(name), **report})
        (folder / "hierarchy.json").write_text(json.dumps(rows[-1], indent=2) + "\n")
        print(f"{name:<10} {-report['importance_bound']:6.2f}", flush=True)
    return rows


if __name__ == "__main__":
    main()
