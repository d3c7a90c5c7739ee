"""Few labels and none: errors of M2 and M1+M2 with 100 labels, and the clusters of `vade`, over draws of the labels.

Trains each of METHODS once for each seed, which draws the labels, the weights and the noise, and prints a Markdown
table of means and standard deviations. No label of the validation or the test part takes part in the training or in the
choice of its best epoch. Run again, it goes on where it was; `--only` names the methods, `--seeds` the runs. Beside
them stands what an expert would do without a generative model, with the same labels and 10,000 other examples.
"""

from __future__ import annotations

import argparse
import csv
import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

import polyvae as pv
from polyvae.data.columns.labels import KNOWN
from polyvae.evaluation import clustering
from polyvae.evaluation.classifier import Classifier, accuracy, grey, moved
from polyvae.recipes.communities import NEIGHBOURS, shared_neighbours
from polyvae.training.second_stage import fit_prior, with_prior

USUAL: dict[str, Any] = {"lr": 2e-3, "schedule": "cosine", "warmup": 100, "batch_size": 200, "precision": "bf16"}
BARS = {"m2": "error < 12 %", "m1+m2": "error < 6 %", "vade": "accuracy > 80 %", "gmvae": "accuracy > 80 %"}
UNLABELLED = 10_000
STEPS, SURE = 1200, 0.95  # of a network, and how probable a label is that it gives itself
COLUMNS = ("method", "seed", "error", "log_loss", "calibration_error", "accuracy", "nmi", "ari", "bound", "epochs")


def m2(data: pv.data.Data, folder: Path, asked: argparse.Namespace, seed: int) -> pv.Run:
    widths = (asked.width, asked.width)
    options = {"latent": 50, "network": "mlp", "widths": widths, "features": asked.width, "classified": 100.0}
    made = pv.recipes.m2(data, seed=seed, likelihood="bernoulli", **options)
    return pv.fit(made, data, folder, resume=True, epochs=asked.epochs, seed=seed, **USUAL)


def m1(asked: argparse.Namespace) -> pv.Run:
    """The autoencoder of M1+M2. It reads no label: one, of the first seed, serves every draw of them."""
    data = loaded(asked, 0)
    made = pv.recipes.vae(data, seed=0, latent=10, network="conv", likelihood="bernoulli")
    run = pv.fit(made, data, asked.out / "m1", resume=True, epochs=asked.epochs, seed=0, **USUAL)
    return replace(run, folder=None)


def m1_m2(data: pv.data.Data, folder: Path, asked: argparse.Namespace, seed: int) -> pv.Run:
    run, options = m1(asked), {"widths": (asked.width, asked.width)}
    settings = {"features": asked.width, "epochs": asked.epochs, "seed": seed, **USUAL}
    return with_prior(run, fit_prior(run, data, "labelled", **options, **settings))


def vade(data: pv.data.Data, folder: Path, asked: argparse.Namespace, seed: int) -> pv.Run:
    options = {"latent": 10, "network": "mlp", "widths": (400, 400), "settle": max(1, asked.epochs // 2)}
    made = pv.recipes.vade(data, seed=seed, likelihood="bernoulli", **options)
    return pv.fit(made, data, folder, resume=True, epochs=asked.epochs, seed=seed, **USUAL)


def gmvae(data: pv.data.Data, folder: Path, asked: argparse.Namespace, seed: int) -> pv.Run:
    options = {"latent": 10, "network": "mlp", "widths": (400, 400)}
    made = pv.recipes.gmvae(data, seed=seed, likelihood="bernoulli", **options)
    return pv.fit(made, data, folder, resume=True, epochs=asked.epochs, seed=seed, **USUAL)


METHODS: dict[str, Callable[..., pv.Run]] = {"m2": m2, "m1+m2": m1_m2, "vade": vade, "gmvae": gmvae}


def _pixels(data: pv.data.Data, part: str) -> tuple[Tensor, Tensor]:
    split = data.parts[part]
    return grey(split.tensors["x"]).flatten(1), split.tensors["y"]


def _labelled(data: pv.data.Data) -> tuple[Tensor, Tensor]:
    """Pixels and classes of the examples that have a label."""
    x, y = _pixels(data, "train")
    known = data.train.tensors[KNOWN].bool()
    return x[known], y[known]


def _few_and_others(data: pv.data.Data) -> tuple[Tensor, Tensor]:
    """Pixels of the examples with a label and of others, and their classes, -1 where they are not known."""
    (x, y), (every, _) = _labelled(data), _pixels(data, "train")
    rest = every[~data.train.tensors[KNOWN].bool()][:UNLABELLED]
    return torch.cat([x, rest]), torch.cat([y, torch.full((len(rest),), -1)])


def support_vectors(data: pv.data.Data, asked: argparse.Namespace, seed: int) -> dict[str, Any]:
    from sklearn.svm import SVC

    (x, y), (test, truth) = _labelled(data), _pixels(data, "test")
    found = torch.from_numpy(SVC(C=10, random_state=seed).fit(x.numpy(), y.numpy()).predict(test.numpy()))
    return {"error": float((found != truth).double().mean())}


def label_spreading(data: pv.data.Data, asked: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Labels spread over the graph of the ten nearest neighbours in 50 principal components."""
    from sklearn.decomposition import PCA
    from sklearn.semi_supervised import LabelSpreading

    (x, labels), (test, truth) = _few_and_others(data), _pixels(data, "test")
    reduced = PCA(50, random_state=seed).fit(x.numpy())
    graph = LabelSpreading("knn", n_neighbors=10, max_iter=100)
    graph.fit(reduced.transform(x.numpy()), labels.numpy())
    found = torch.from_numpy(graph.predict(reduced.transform(test.numpy())))
    return {"error": float((found != truth).double().mean())}


def code_spreading(data: pv.data.Data, asked: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Labels spread over the codes of M1, linked by the neighbours that they share; a test code has its neighbours'."""
    from sklearn.neighbors import NearestNeighbors
    from sklearn.semi_supervised import LabelSpreading

    data = loaded(asked, seed)
    run, known = m1(asked), data.train.tensors[KNOWN].bool()
    rows = torch.cat([known.nonzero()[:, 0], (~known).nonzero()[:UNLABELLED, 0]])
    codes = run.encode(data.train.take(rows))
    labels = torch.where(known[rows], data.train.tensors["y"][rows], -1)
    graph = LabelSpreading(lambda *_: shared_neighbours(codes), alpha=0.99, max_iter=2000).fit(codes, labels)
    around = (
        NearestNeighbors(n_neighbors=NEIGHBOURS).fit(codes).kneighbors(run.encode(data.test), return_distance=False)
    )
    found = torch.from_numpy(graph.label_distributions_[around].mean(1).argmax(1))
    return {"error": float((found != data.test.tensors["y"]).double().mean())}


def moved_pictures(data: pv.data.Data, asked: argparse.Namespace, seed: int, own: bool = False) -> dict[str, Any]:
    """A convolutional classifier of the labelled pictures, turned and shifted anew at every look.

    `own`: it learns its own labels of the others too, where it is sure of them (Sohn et al.: FixMatch, 2020).
    """
    (both, labels), side = _few_and_others(data), data.spec.x
    (x, y), rest = (both[labels >= 0].view(-1, *side), labels[labels >= 0]), both[labels < 0].view(-1, *side)
    torch.manual_seed(seed)
    made, draws = Classifier(side[0], int(data.spec.classes or 0)), torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(made.parameters(), 2e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=STEPS)
    for step in range(STEPS):
        index = torch.randint(len(x), (50,), generator=draws)
        shown, cost = moved(x[index], draws), torch.zeros(())
        if own and step > STEPS // 8:
            more = rest[torch.randint(len(rest), (150,), generator=draws)]
            with torch.no_grad():
                sure, told = made(moved(more, draws)).softmax(1).max(1)
            again = moved(moved(more, draws), draws)
            cost = (F.cross_entropy(made(again), told, reduction="none") * (sure > SURE)).mean()
        optimiser.zero_grad()
        (F.cross_entropy(made(shown), y[index]) + cost).backward()
        optimiser.step()
        schedule.step()
    return {"error": 1 - accuracy(made, data.test)}


def own_labels(data: pv.data.Data, asked: argparse.Namespace, seed: int) -> dict[str, Any]:
    return moved_pictures(data, asked, seed, own=True)


def _clusters(data: pv.data.Data, fit: Callable[[Any, Any], Any]) -> dict[str, Any]:
    (x, _), (test, truth) = _pixels(data, "train"), _pixels(data, "test")
    return clustering(torch.from_numpy(fit(x.numpy(), test.numpy())).long(), truth)


def k_means(data: pv.data.Data, asked: argparse.Namespace, seed: int) -> dict[str, Any]:
    from sklearn.cluster import KMeans

    return _clusters(data, lambda x, test: KMeans(10, n_init=5, random_state=seed).fit(x).predict(test))


def mixture(data: pv.data.Data, asked: argparse.Namespace, seed: int) -> dict[str, Any]:
    """A mixture of normals with full covariances over 20 principal components."""
    from sklearn.decomposition import PCA
    from sklearn.mixture import GaussianMixture

    def fit(x: Any, test: Any) -> Any:
        reduced = PCA(20, random_state=seed).fit(x)
        found = GaussianMixture(10, n_init=3, random_state=seed).fit(reduced.transform(x[: 2 * UNLABELLED]))
        return found.predict(reduced.transform(test))

    return _clusters(data, fit)


RIVALS: dict[str, Callable[[pv.data.Data, argparse.Namespace, int], dict[str, Any]]] = {
    "support vectors": support_vectors,
    "label spreading": label_spreading,
    "label spreading, codes of M1": code_spreading,
    "network, moved pictures": moved_pictures,
    "network, moved pictures, own labels": own_labels,
    "k-means": k_means,
    "normals on principal components": mixture,
}


def loaded(asked: argparse.Namespace, seed: int, levels: bool = False) -> pv.data.Data:
    """The data with the labels that this seed draws: bits drawn anew at every look, or their grey `levels`."""
    options = {} if asked.limit is None else {"limit": asked.limit}
    binarise = None if levels or asked.data == "digits" else "dynamic"
    return pv.data.load(asked.data, seed=seed, labels=asked.labels, binarise=binarise, **options)


def measured(method: str, seed: int, asked: argparse.Namespace) -> dict[str, Any]:
    """One run of the table, judged on the test part."""
    if method in RIVALS:
        told = RIVALS[method](loaded(asked, seed, levels=True), asked, seed)
        return {"method": method, "seed": seed, **{name: told.get(name, "") for name in COLUMNS[2:]}}
    data = loaded(asked, seed)
    run = METHODS[method](data, asked.out / f"{method}-{seed}", asked, seed)
    report = pv.evaluate(run, data.test, samples=asked.samples, spec=data.spec)
    told = {**report["clusters"], **report.get("classification", {}), "bound": report["bound"]}
    found = {name: told.get(name, "") for name in COLUMNS[2:-1]}
    return {"method": method, "seed": seed, **found, "epochs": asked.epochs}


def main(arguments: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """The runs that are asked for, and their table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--labels", type=int, default=100)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--width", type=int, default=300)
    parser.add_argument("--samples", type=int, default=10)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--only", nargs="+", choices=[*METHODS, *RIVALS], default=[*METHODS, *RIVALS])
    parser.add_argument("--out", type=Path, default=Path("runs/labels"))
    parser.add_argument("--table", type=Path, help="a .csv that the runs are kept in; OUT/runs.csv where none is given")
    asked = parser.parse_args(arguments)
    table = asked.table or asked.out / "runs.csv"
    for seed in asked.seeds:
        for method in asked.only:
            if (method, str(seed)) not in {(row["method"], row["seed"]) for row in kept(table)}:
                keep(table, measured(method, seed, asked))
    rows = kept(table)
    print("| method | runs | error, % | accuracy, % | NMI | ARI | bar |\n|---|---|---|---|---|---|---|")
    for method in dict.fromkeys(row["method"] for row in rows):
        mine = [row for row in rows if row["method"] == method]
        shown = [spread(mine, "error", 100), spread(mine, "accuracy", 100), spread(mine, "nmi"), spread(mine, "ari")]
        print(f"| `{method}` | {len(mine)} | {' | '.join(shown)} | {BARS.get(method, '')} |")
    return rows


def kept(table: Path) -> list[dict[str, Any]]:
    if not table.exists():
        return []
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


def keep(table: Path, row: dict[str, Any]) -> None:
    table.parent.mkdir(parents=True, exist_ok=True)
    fresh = not table.exists()
    with table.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if fresh:
            writer.writeheader()
        writer.writerow(row)


def spread(rows: Sequence[dict[str, Any]], name: str, factor: float = 1.0) -> str:
    """Mean and standard deviation of a column over runs."""
    values = [factor * float(row[name]) for row in rows if row[name] != ""]
    if not values:
        return ""
    deviation = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.2f}{deviation}"


if __name__ == "__main__":
    main()
