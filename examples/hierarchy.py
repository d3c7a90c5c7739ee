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
import csv
import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

import polyvae as pv
from polyvae.data import Data
from polyvae.data.cuts import shuffled
from polyvae.data.files.writing import replacing
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
        per_scale=(1, 1),
        network="mlp-tanh",
        widths=WIDTHS,
        latent=DIMENSIONS[::-1],
        blocks=2,
        merge="precision",
        kl_warmup=2000,
    ),
    "ladder-maps": partial(rungs, per_scale=(2, 1), widths=(16, 32), kl_warmup=2000),
}


def main(arguments: Sequence[str] | None = None) -> list[dict[str, Any]]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--data", default="mnist", help="pictures, by name or path, binarised anew each time")
    parser.add_argument("--limit", type=int, default=None, help="training pictures; all, where none is given")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--batch-size", type=int, default=50)
    parser.add_argument("--draws", type=int, default=5000, help="of the latents, for log p(x)")
    parser.add_argument("--pictures", type=int, default=1000, help="of the test part that are scored")
    parser.add_argument("--out", type=Path, default=Path("runs/hierarchy"), help="the folder of the runs")
    parser.add_argument("--table", type=Path, default=Path("results/ladder/hierarchy.csv"))
    asked = parser.parse_args(arguments)

    data = pv.data.load(asked.data, binarise="dynamic", limit=asked.limit)
    judged = data.test.take(shuffled(len(data.test), 0)[: asked.pictures])
    settings: dict[str, Any] = {"epochs": asked.epochs, "batch_size": asked.batch_size, "schedule": "cosine"}
    for name in asked.methods:
        folder = asked.out / name
        run = pv.fit(METHODS[name](data), data, folder, resume=True, weight_decay=0.0, device="cpu", **settings)
        report = pv.evaluate(run, judged, samples=asked.draws)
        passes = {"method": name, "passes": asked.epochs, "batch_size": asked.batch_size}
        (folder / "hierarchy.json").write_text(json.dumps({**passes, **report}, indent=2) + "\n")
        rows = table(asked.out, asked.table)
        print(f"{name:<12} {-report['importance_bound']:6.2f} nats", flush=True)
    return rows


def table(runs: Path, path: Path) -> list[dict[str, Any]]:
    """Writes a row of every run that was judged."""
    rows = []
    for name in METHODS:
        if not (runs / name / "hierarchy.json").exists():
            continue
        report = json.loads((runs / name / "hierarchy.json").read_text())
        row = {key: report[key] for key in ("method", "passes", "batch_size", "samples", "examples", "parameters")}
        told = {"nll": -report["importance_bound"], "error": report["importance_bound_error"], "bound": report["bound"]}
        row |= {key: f"{value:.2f}" for key, value in told.items()}
        kl = " ".join(f"{latent}={found['kl']:.1f}" for latent, found in report["latents"].items())
        rows.append({**row, "kl": kl, "published": PUBLISHED.get(name, "")})
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as beside, beside.open("w", encoding="utf-8", newline="") as file:
        written = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        written.writeheader()
        written.writerows(rows)
    return rows


if __name__ == "__main__":
    main()
