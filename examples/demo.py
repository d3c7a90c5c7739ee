"""Train a VAE on MNIST, evaluate it beside PCA, draw its figures: about two minutes on two cores.

Where MNIST is neither found nor can be fetched, scikit-learn's digits are taken. Run again, it goes on where it was.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import rich

import polyvae as pv
from polyvae.data.cuts import subset
from polyvae.evaluation import evaluate, table

EPOCHS = {"mnist": 4, "digits": 30}
LIMIT = 6_000  # training pictures; the test part shrinks in proportion
TESTED, SAMPLES = 500, 20  # pictures of the test part, and draws for each that the bounds are computed from


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=EPOCHS, default="mnist")
    parser.add_argument("--epochs", type=int, help="passes over the training part")
    parser.add_argument("--out", type=Path, default=Path("runs/demo"), help="the folder of the run")
    asked = parser.parse_args(arguments)

    data = load(asked.data)
    epochs = EPOCHS[data.name] if asked.epochs is None else asked.epochs
    folder = asked.out / data.name
    print(f"Training on {len(data.train):,} pictures of {data.name}, {epochs} epochs, in {folder}")
    recipe = pv.recipes.sigma_vae(data, scale="optimal", seed=0)
    run = pv.fit(recipe, data, folder, resume=True, epochs=epochs, schedule="cosine")

    test = subset(data.test, TESTED, 0)
    report = evaluate(run, test, samples=SAMPLES)
    linear = evaluate(pv.fit("ppca", data), test, samples=1)
    (folder / "evaluation.json").write_text(json.dumps({"sigma_vae": report, "ppca": linear}, indent=2) + "\n")
    figures = pv.figures.save_figures(run, test, folder / "figures", run.history)

    rich.print(table(report, f"sigma_vae on {len(test)} test pictures of {data.name}"))
    latents = report["latents"]["z"]["dimensions"]
    print(f"\n{latents} latents          bound on log p(x), nats   squared error")
    for name, found in {"sigma_vae": report, "probabilistic PCA": linear}.items():
        print(f"{name:<20}{found['bound']:24.1f}{found['mse']:16.4f}")
    print(f"\nEvaluation: {folder / 'evaluation.json'}\nFigures:    {figures[0].parent}")


def load(name: str) -> pv.data.Data:
    """The data set, or scikit-learn's digits where its files cannot be had."""
    try:
        return pv.data.load(name, limit=LIMIT)
    except (pv.data.DataError, OSError) as error:
        print(f"{error}\nTaking scikit-learn's digits instead.")
        return pv.data.load("digits", limit=LIMIT)


if __name__ == "__main__":
    main()
