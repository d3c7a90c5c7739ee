"""Digits from a vector-quantised autoencoder: uniform codes beside those of a PixelCNN, judged by a classifier.

Trains `vq_vae` on MNIST, a PixelCNN over its codes, and a classifier of the real digits that also knows what is none
(real digits with their tiles shuffled); counts the samples of either prior to which it gives one label with more than
0.9, and draws both. Run again, it goes on where it was.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import torch

import polyvae as pv
from polyvae.evaluation import recognisable, sampled_pictures, train_classifier
from polyvae.training.second_stage import train_prior, with_prior

ABOVE = 0.9  # the probability of one label that makes a picture recognisable


def main(arguments: Sequence[str] | None = None) -> dict[str, dict[str, float]]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="mnist", help="labelled pictures, by name or path")
    parser.add_argument("--limit", type=int, default=20_000, help="training pictures")
    parser.add_argument("--epochs", type=int, default=5, help="of the autoencoder")
    parser.add_argument("--prior-epochs", type=int, default=10, help="of the PixelCNN")
    parser.add_argument("--count", type=int, default=1_000, help="samples that are judged")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="of both trainings")
    parser.add_argument("--out", type=Path, default=Path("runs/codes"), help="the folder of the run")
    asked = parser.parse_args(arguments)

    data = pv.data.load(asked.data, limit=asked.limit)
    recipe = pv.recipes.vq_vae(data, likelihood="normal", seed=0)
    run = pv.fit(recipe, data, asked.out, resume=True, epochs=asked.epochs, precision=asked.precision)
    begun = (asked.out / "prior").exists()
    train_prior(run, data, resume=begun, epochs=asked.prior_epochs, precision=asked.precision)

    classifier = train_classifier(data.train, rejects=True)
    real = data.test.batch(torch.arange(len(data.test)))["x"]
    report = {"real": {"recognisable": recognisable(classifier, real, ABOVE)}}
    for name, source in {"uniform": run, "learned": with_prior(run)}.items():
        pictures = sampled_pictures(source, data.test, asked.count)
        nats = pv.evaluate(source, data.test, samples=1)["kl"]
        report[name] = {"recognisable": recognisable(classifier, pictures, ABOVE), "nats": nats}
        path = asked.out / "figures" / f"samples-{name}.png"
        pv.figures.draw(pv.figures.samples(source, None, 8, 8), path, f"Samples with {name} codes")
        print(f"figure: {path}")
    for name, found in report.items():
        nats = f", codes of the test part cost {found['nats']:.1f} nats a picture" if "nats" in found else ""
        print(f"{name:<8} {100 * found['recognisable']:5.1f} % recognisable{nats}")
    (asked.out / "codes.json").write_text(json.dumps(report, indent=2) + "\n")
    return report


if __name__ == "__main__":
    main()
