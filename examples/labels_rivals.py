"""What an expert would do with few labels or none, without a generative model, for the table of examples/labels.py.

All see the pixels in [0, 1], the same labels as the models beside them, and of the examples without a label the first
10,000. The networks are small convolutions that a practitioner would write.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from examples.augment import moved
from torch import Tensor
from torch.nn import functional as F

import polyvae as pv
from polyvae.data.columns.labels import KNOWN
from polyvae.evaluation import clustering
from polyvae.evaluation.classifier import Classifier, accuracy, grey

UNLABELLED = 10_000
STEPS, SURE = 1200, 0.95  # of the network, and how probable a label is that it gives itself
Found = dict[str, Any]


def _pixels(data: pv.data.Data, part: str) -> tuple[Tensor, Tensor]:
    split = data.parts[part]
    return grey(split.tensors["x"]).flatten(1), split.tensors["y"]


def _labelled(data: pv.data.Data) -> tuple[Tensor, Tensor]:
    """Pixels and classes of the examples that have a label."""
    x, y = _pixels(data, "train")
    known = data.train.tensors[KNOWN].bool()
    return x[known], y[known]


def support_vectors(data: pv.data.Data, seed: int) -> Found:
    from sklearn.svm import SVC

    (x, y), (test, truth) = _labelled(data), _pixels(data, "test")
    found = torch.from_numpy(SVC(C=10, random_state=seed).fit(x.numpy(), y.numpy()).predict(test.numpy()))
    return {"error": float((found != truth).double().mean())}


def label_spreading(data: pv.data.Data, seed: int) -> Found:
    """Labels spread over the graph of the ten nearest neighbours in 50 principal components."""
    from sklearn.decomposition import PCA
    from sklearn.semi_supervised import LabelSpreading

    (x, y), (every, _), (test, truth) = _labelled(data), _pixels(data, "train"), _pixels(data, "test")
    rest = every[~data.train.tensors[KNOWN].bool()][:UNLABELLED]
    reduced = PCA(50, random_state=seed).fit(torch.cat([x, rest]).numpy())
    labels = torch.cat([y, torch.full((len(rest),), -1)]).numpy()
    graph = LabelSpreading("knn", n_neighbors=10, max_iter=100)
    graph.fit(reduced.transform(torch.cat([x, rest]).numpy()), labels)
    found = torch.from_numpy(graph.predict(reduced.transform(test.numpy())))
    return {"error": float((found != truth).double().mean())}


def moved_pictures(data: pv.data.Data, seed: int, own: bool = False) -> Found:
    """A convolutional classifier of the labelled pictures, turned and shifted anew at every look.

    `own`: it learns its own labels of the others too, where it is sure of them (Sohn et al.: FixMatch, 2020).
    """
    (x, y), (every, _) = _labelled(data), _pixels(data, "train")
    side = data.spec.x
    x, rest = x.view(-1, *side), every[~data.train.tensors[KNOWN].bool()][:UNLABELLED].view(-1, *side)
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


def own_labels(data: pv.data.Data, seed: int) -> Found:
    return moved_pictures(data, seed, own=True)


def _clusters(data: pv.data.Data, fit: Callable[[Any, Any], Any]) -> Found:
    (x, _), (test, truth) = _pixels(data, "train"), _pixels(data, "test")
    return clustering(torch.from_numpy(fit(x.numpy(), test.numpy())).long(), truth)


def k_means(data: pv.data.Data, seed: int) -> Found:
    from sklearn.cluster import KMeans

    return _clusters(data, lambda x, test: KMeans(10, n_init=5, random_state=seed).fit(x).predict(test))


def mixture(data: pv.data.Data, seed: int) -> Found:
    """A mixture of normals with full covariances over 20 principal components."""
    from sklearn.decomposition import PCA
    from sklearn.mixture import GaussianMixture

    def fit(x: Any, test: Any) -> Any:
        reduced = PCA(20, random_state=seed).fit(x)
        found = GaussianMixture(10, n_init=3, random_state=seed).fit(reduced.transform(x[: 2 * UNLABELLED]))
        return found.predict(reduced.transform(test))

    return _clusters(data, fit)


RIVALS: dict[str, Callable[[pv.data.Data, int], Found]] = {
    "support vectors": support_vectors,
    "label spreading": label_spreading,
    "network, moved pictures": moved_pictures,
    "network, moved pictures, own labels": own_labels,
    "k-means": k_means,
    "normals on principal components": mixture,
}
