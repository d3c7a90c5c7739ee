"""VAE, VAE-GAN and a two-stage prior on the VAE, with the same encoder, decoder and epochs: distances and pictures.

A classifier of the data's labels, or of their attributes, is trained first; Fréchet distances are in its features,
beside that of two real sets as large. Run again, it goes on where it was. Prints a Markdown table and draws a sheet:

    python examples/adversarial.py --data celeba --size 64 --epochs 10 --out runs/adversarial
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

import polyvae as pv
from polyvae.evaluation.classifier import Classifier, grey
from polyvae.evaluation.frechet import classifier_features, frechet_distance, sampled_pictures
from polyvae.figures.pixels import save_montage
from polyvae.training.second_stage import with_prior

GAMES: dict[str, dict[str, Any]] = {
    "vae_gan": {},
    "vae_gan, minimax": {"game": "minimax"},
    "vae_gan, r1": {"r1": 1.0},
    "vae_gan, spectral": {"spectral": True},
    "vae_gan, slow critic": {"critic_rate": 0.25},
    "vae_gan, patches": {"patches": True},
    "vae_gan, paper": {"game": "minimax", "gamma": 1e-3, "feature_scale": 1.0},
}
NAMES = ["vae", "two-stage", *GAMES]


def judge(data: pv.data.Data, steps: int, seed: int) -> tuple[Classifier, dict[str, float]]:
    """A classifier of one label or of many attributes, and how often it is right about the test part."""
    x, y = data.train.tensors["x"], data.train.tensors["y"]
    labels = data.spec.classes is not None
    cost = F.cross_entropy if labels else lambda found, y: F.binary_cross_entropy_with_logits(found, y.float())
    torch.manual_seed(seed)
    made = Classifier(x.shape[1], data.spec.classes or y.shape[1])
    optimiser = torch.optim.Adam(made.parameters(), 1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps)
    for _ in range(steps):
        index = torch.randint(len(x), (64,))
        pictures = grey(x[index])
        pictures = pictures if labels else torch.where(torch.rand(64, 1, 1, 1) < 0.5, pictures, pictures.flip(3))
        optimiser.zero_grad()
        cost(made(pictures), y[index]).backward()
        optimiser.step()
        schedule.step()
    made.eval()
    with torch.no_grad():
        found = torch.cat([made(grey(part)) for part in data.test.tensors["x"].split(100)])
    y = data.test.tensors["y"]
    if labels:
        return made, {"accuracy": float((found.argmax(1) == y).float().mean())}
    common = (data.train.tensors["y"].float().mean(0) > 0.5).float()
    chance = float((common == y.float()).float().mean())
    return made, {"accuracy": float(((found > 0) == (y > 0.5)).float().mean()), "by the commoner value": chance}


def trained(name: str, data: pv.data.Data, asked: argparse.Namespace) -> pv.Run:
    """The run of that name, which goes on where it was."""
    if name == "two-stage":
        base = trained("vae", data, asked)
        pv.fit_prior(base, data, "two-stage", resume=(asked.out / "vae" / "prior").exists(), epochs=asked.prior_epochs)
        return with_prior(base)
    options = {"likelihood": "normal-optimal"} if name == "vae" else {"critic": asked.critic, **GAMES[name]}
    common = {"latent": asked.latent, "network": asked.network, "widths": asked.widths, "seed": asked.seed}
    made = pv.recipes.named(name.partition(",")[0])(data, **common, **options)
    folder = asked.out / name.replace(", ", "-").replace(" ", "-")
    settings = {"epochs": asked.epochs, "lr": asked.lr, "batch_size": 64, "device": "cpu", "seed": asked.seed}
    return pv.fit(made, data, folder, resume=True, progress=True, **settings)


def measured(name: str, run: pv.Run, data: pv.data.Data, real: Tensor, classifier: Classifier, seed: int) -> Any:
    """Pictures drawn from the prior, pictures rebuilt, and a row of the table."""
    count = len(real)
    made = sampled_pictures(run, data.test, count, seed).cpu()
    batch = data.test.batch(torch.arange(10))
    rebuilt = run.model.reconstruct(run.recipe.observe(batch))["x"].mean.detach().clamp(0, 1).cpu()
    report = pv.evaluate(run, data.test, samples=10)
    of_game = {} if name in ("vae", "two-stage") else run.history[-1]
    return (made, rebuilt), {
        "distance": frechet_distance(classifier_features(classifier, made), classifier_features(classifier, real)),
        "bound": report["bound"],
        "importance_bound": report["importance_bound"],
        "mse": report["mse"],
        "spread": of_game.get("validation_spread"),
        "certainty": of_game.get("validation_certainty"),
        "best epoch": None if name == "two-stage" else (run.best or {}).get("epoch"),
        "seconds": sum(row["seconds"] for row in run.history),
    }


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    widths = lambda text: tuple(int(each) for each in text.split(","))  # noqa: E731
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="celeba", help="pictures with labels or attributes, by name or path")
    parser.add_argument("--size", type=int, default=None, help="side of the pictures, where there is a choice")
    parser.add_argument("--limit", type=int, default=None, help="training pictures")
    parser.add_argument("--network", default="conv")
    parser.add_argument("--widths", type=widths, default=(16, 32, 64, 64))
    parser.add_argument("--critic", type=widths, default=(16, 32, 64))
    parser.add_argument("--latent", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--prior-epochs", type=int, default=50)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--steps", type=int, default=1000, help="steps of the classifier")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=NAMES[:3], choices=NAMES, metavar="NAME", help=f"of {NAMES}")
    parser.add_argument("--out", type=Path, default=Path("runs/adversarial"))
    asked = parser.parse_args(arguments)

    given = {"size": asked.size, "limit": asked.limit}
    data = pv.data.load(asked.data, **{name: value for name, value in given.items() if value is not None})
    asked.out.mkdir(parents=True, exist_ok=True)
    classifier, right = judge(data, asked.steps, asked.seed)
    count = min(len(data.test), len(data.validation), 2000)
    real, others = (grey(split.tensors["x"][:count]) for split in (data.test, data.validation))
    floor = frechet_distance(*[classifier_features(classifier, each) for each in (others, real)])
    found: dict[str, Any] = {"classifier": right, "count": count, "real": floor, "rows": {}}
    shown = [real[:10]]
    for name in asked.only:
        (made, rebuilt), found["rows"][name] = measured(
            name, trained(name, data, asked), data, real, classifier, asked.seed
        )
        shown += [rebuilt, made[:10]] if name != "two-stage" else [made[:10]]
        save_montage(asked.out / "pictures.png", torch.cat(shown).unflatten(0, (-1, 10)).numpy(), scale=2)
        (asked.out / "table.json").write_text(json.dumps(found, indent=2) + "\n")
    print(f"\nclassifier: {right}; {count} pictures a side, real beside real {floor:.2f}\n")
    print("| recipe | distance | bound, nats | squared error | spread | certainty | best epoch | seconds |")
    print("|---|---|---|---|---|---|---|---|")
    for name, row in found["rows"].items():
        told = " | ".join("" if row[key] is None else f"{row[key]:.2f}" for key in ("spread", "certainty"))
        best, seconds = row["best epoch"] or "", f"{row['seconds']:.0f}"
        bound = f"{row['bound']:.0f}" if row["bound"] is not None else ""
        print(f"| {name} | {row['distance']:.2f} | {bound} | {row['mse']:.4f} | {told} | {best} | {seconds} |")
    return found


if __name__ == "__main__":
    main()
