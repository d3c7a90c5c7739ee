"""Classes that were never seen, from their attributes: a conditional VAE with and without a critic, and baselines.

Worlds: "attributes", normal classes whose mean and covariance are a function of six attributes, so that the best
classifier is known; "mnist", digits as features of a classifier of the seen ones, with attributes measured of the
strokes of each picture and of each class. Each method is judged among all classes: accuracy on seen, on unseen,
harmonic mean. Prints a Markdown table:

    python examples/zero_shot.py attributes --seeds 5
"""

from __future__ import annotations

import argparse
import functools
import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import polyvae as pv
from polyvae.evaluation.classifier import grey, train_classifier
from polyvae.evaluation.frechet import classifier_features
from polyvae.evaluation.zero_shot import generalised, made_features, softmax_regression

Classify = Callable[[Tensor], Tensor]  # features [N, D] to labels [N]


@dataclass(frozen=True, eq=False)
class World:
    """Features x and labels y of the seen classes to train on and of all to be judged by, attributes of all classes.

    `more`: examples of the unseen classes, of which no method but the last may know. `own`: attributes of each training
    example, those of its class by default. `best`: the best classifier, where it is known.
    """

    train: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]
    more: tuple[Tensor, Tensor]
    attributes: Tensor
    unseen: list[int]
    own: Tensor
    best: Classify | None = None

    def like(self, count: int, seed: int) -> Tensor:
        """Attributes of so many examples of each unseen class: those of the class, and seen examples' distances."""
        apart, generator = self.own - self.attributes[self.train[1]], torch.Generator().manual_seed(seed)
        chosen = torch.randint(len(apart), (len(self.unseen) * count,), generator=generator)
        return self.attributes[self.unseen].repeat_interleave(count, 0) + apart[chosen]

    def joined(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """What is trained on, and other examples."""
        return torch.cat([self.train[0], x]), torch.cat([self.train[1], y])


def attribute_world(seed: int, seen: int = 30, unseen: int = 10, each: int = 60) -> World:
    """Classes N(m(a), S(a)) in 12 dimensions: m by a layer of tanh, S with axes of its own lengths, of attributes a."""
    generator = torch.Generator().manual_seed(seed)
    normal = lambda *shape: torch.randn(*shape, generator=generator)  # noqa: E731
    count, of, to = seen + unseen, 6, 12
    a = torch.rand(count, of, generator=generator) * 2 - 1
    first, second, third = normal(of, 24), normal(24, to) / 24**0.5, normal(of, to) / of**0.5
    turn = torch.linalg.qr(normal(to, to))[0]
    mean, length = 1.6 * (a @ first).tanh() @ second, 0.8 * (0.8 * a @ third).exp()

    def drawn(rows: Tensor) -> tuple[Tensor, Tensor]:
        return mean[rows] + (length[rows] * normal(len(rows), to)) @ turn, rows

    def best(x: Tensor) -> Tensor:
        apart = (x[:, None] - mean) @ turn.T / length
        return (-0.5 * apart.square().sum(2) - length.log().sum(1)).argmax(1)

    rows = torch.arange(count)
    train, test = drawn(rows[:seen].repeat(each)), drawn(rows.repeat(100))
    return World(train, test, drawn(rows[seen:].repeat(each)), a, rows[seen:].tolist(), a[train[1]], best)


def strokes(x: Tensor) -> Tensor:
    """What can be measured of strokes in pictures [N, 1, 28, 28]: [N, 15].

    Ink, width, height, slant; ink in the nine fields of a 3 x 3 grid but one; crossings of three rows.
    """
    ink = x[:, 0].clamp(min=0)
    total = ink.sum((1, 2)).clamp(min=1e-6)
    place = torch.linspace(-1, 1, x.shape[-1])
    down, across = ink.sum(2) / total[:, None], ink.sum(1) / total[:, None]
    y, x_ = down @ place, across @ place
    high, wide = ((down @ place**2) - y**2).sqrt(), ((across @ place**2) - x_**2).sqrt()
    slant = ((ink * place[:, None] * place).sum((1, 2)) / total - y * x_) / (high * wide).clamp(min=1e-6)
    fields = torch.nn.functional.adaptive_avg_pool2d(ink, 3).flatten(1)[:, :8] / total[:, None] * 87
    lines = torch.stack([ink[:, 9], ink[:, 14], ink[:, 19]], 1) > 0.5
    crossings = (lines[..., 1:] & ~lines[..., :-1]).sum(2).float()
    return torch.cat([torch.stack([total / 100, wide, high], 1), slant[:, None], fields, crossings], 1)


def mnist_world(seed: int, hidden: int = 3) -> World:
    """Digits but for three that are never seen, as 64 features of a classifier of the others."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = pv.data.load("mnist", limit=10_000)
    unseen = torch.randperm(10, generator=torch.Generator().manual_seed(seed))[:hidden].sort().values
    train, test = data.train.tensors, data.test.tensors
    of_unseen = torch.isin(train["y"], unseen)
    classifier = train_classifier(data.train.take((~of_unseen).nonzero()[:, 0]), seed=seed, steps=600)
    features, shown = (classifier_features(classifier, grey(each["x"])) for each in (train, test))
    centre, scale = features[~of_unseen].mean(0), features[~of_unseen].std(0).clamp(min=1e-3)
    features, shown, labels = (features - centre) / scale, (shown - centre) / scale, train["y"].long()
    found = strokes(grey(train["x"]))
    found = (found - found[~of_unseen].mean(0)) / found[~of_unseen].std(0).clamp(min=1e-6)
    means = torch.stack([found[labels == k].mean(0) for k in range(10)])
    seen, more = ((features[rows], labels[rows]) for rows in (~of_unseen, of_unseen))
    return World(seen, (shown, test["y"].long()), more, means, unseen.tolist(), found[~of_unseen])


Method = Callable[[World, int], Classify | None]
WORLDS: dict[str, Callable[[int], World]] = {"attributes": attribute_world, "mnist": mnist_world}


def ridge(a: Tensor, b: Tensor, decay: float) -> Tensor:
    """W of the least |a W - b|^2 + decay |W|^2, a with a column of ones."""
    a = torch.cat([a, torch.ones(len(a), 1)], 1)
    return torch.linalg.solve(a.T @ a + decay * torch.eye(a.shape[1]), a.T @ b)


def applied(w: Tensor, a: Tensor) -> Tensor:
    return torch.cat([a, torch.ones(len(a), 1)], 1) @ w


def nearest_attributes(world: World, seed: int) -> Classify:
    """Attributes by ridge regression on x, then the class whose attributes are nearest."""
    x, _ = world.train
    w = ridge(x, world.own, 1.0)
    return lambda x: torch.cdist(applied(w, x), world.attributes).argmin(1)


def predicted_means(world: World, seed: int) -> Classify:
    """Means of classes by ridge regression on attributes, then the nearest by the pooled covariance."""
    x, y = world.train
    known = y.unique()
    means = torch.stack([x[y == k].mean(0) for k in known])
    pooled = sum((x[y == k] - m).T @ (x[y == k] - m) for k, m in zip(known, means, strict=True)) / len(x)
    every = applied(ridge(world.own, x, 0.1 * len(x) / len(known)), world.attributes)
    every[known] = means
    root = torch.linalg.cholesky(torch.linalg.inv(pooled + 1e-3 * torch.eye(x.shape[1])))
    return lambda x: torch.cdist(x @ root, every @ root).argmin(1)


def generated(name: str, options: dict[str, Any], epochs: int) -> list[Method]:
    """Classifiers trained on real features of seen classes and on made ones of the others, sampled and their means."""

    @functools.lru_cache(maxsize=1)
    def trained(seed: int, world: World) -> pv.Run:
        x, _ = world.train
        data = pv.data.wrap((x, world.own), validation=0.1, test=0, seed=seed)
        made = pv.recipes.named(name)(data, latent=8, network="mlp", widths=(128, 128), seed=seed, **options)
        return pv.fit(made, data, epochs=epochs, batch_size=64, device="cpu", seed=seed, progress=False)

    def method(world: World, seed: int, noise: bool) -> Classify:
        each = len(world.train[1]) // len(world.train[1].unique())
        made = made_features(trained(seed, world), world.like(each, seed), 1, seed, noise).flatten(0, 1)
        return regression(world, made, torch.tensor(world.unseen).repeat_interleave(each))

    return [functools.partial(method, noise=True), functools.partial(method, noise=False)]


def regression(world: World, x: Tensor, y: Tensor) -> Classify:
    found = softmax_regression(*world.joined(x, y), len(world.attributes))
    return lambda x: found(x).argmax(1)


def methods(epochs: int) -> dict[str, Method]:
    """What is compared, by name."""
    critic = {"critic": (128, 128)}
    plain, flat = generated("cvae", {}, epochs), {"game": "hinge", "spectral": True}
    slopes = generated("zero_shot_vae_gan", critic, epochs)
    return {
        "attributes by regression, nearest class": nearest_attributes,
        "means by regression, pooled covariance": predicted_means,
        "cvae, sampled": plain[0],
        "cvae, means": plain[1],
        "zero_shot_vae_gan, sampled": slopes[0],
        "zero_shot_vae_gan, means": slopes[1],
        "zero_shot_vae_gan, spectral hinge": generated("zero_shot_vae_gan", {**critic, **flat}, epochs)[0],
        "softmax on real unseen": lambda world, seed: regression(world, *world.more),
        "the best classifier": lambda world, seed: world.best,
    }


def main(arguments: Sequence[str] | None = None) -> dict[str, list[dict[str, float]]]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("world", choices=[*WORLDS])
    parser.add_argument("--seeds", type=int, default=5, help="worlds and runs")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--out", type=Path, default=Path("runs/zero-shot"))
    asked = parser.parse_args(arguments)

    asked.out.mkdir(parents=True, exist_ok=True)
    kept = asked.out / f"{asked.world}.json"
    found: dict[str, list[dict[str, float]]] = json.loads(kept.read_text()) if kept.exists() else {}
    for seed in range(asked.seeds):
        world = None
        for name, method in methods(asked.epochs).items():
            rows = found.setdefault(name, [])
            if len(rows) > seed:
                continue
            world = WORLDS[asked.world](seed) if world is None else world
            classify = method(world, seed)
            x, y = world.test
            rows += [] if classify is None else [generalised(classify(x), y, world.unseen)]
            kept.write_text(json.dumps(found, indent=2) + "\n")
    print("| method | seen | unseen | harmonic mean |")
    print("|---|---|---|---|")
    for name, rows in found.items():
        if not rows:
            continue
        table = torch.tensor([[row[key] for key in ("seen", "unseen", "harmonic")] for row in rows])
        spread = table.std(0) if len(rows) > 1 else torch.zeros(3)
        cells = (f"{100 * mean:.1f} ± {100 * apart:.1f}" for mean, apart in zip(table.mean(0), spread, strict=True))
        print(f"| {name} | {' | '.join(cells)} |")
    return found


if __name__ == "__main__":
    main()
