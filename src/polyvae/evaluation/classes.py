"""The classes that a model finds: beside the labels of the data, and as a classifier whose probabilities are judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp
from typing import Any

import torch
from torch import Tensor, nn

from polyvae.data.columns.labels import KNOWN
from polyvae.data.exchange.given import taken
from polyvae.data.split import Split
from polyvae.evaluation.blocks import each_block, source_of
from polyvae.evaluation.pictures import recorded_spec
from polyvae.model.priors.mixture import FullMixture, Mixture
from polyvae.model.vae import VAE, Values

BINS = 15  # of a calibration error
MARGIN = 1.0  # label of each kind, added to those of every cluster, as many as there are of them in all parts together


def class_latent(model: Any) -> str | None:
    """The name of the latent that is a class: one that is summed over, or whose prior is a mixture; None without."""
    if summed := [name for name in getattr(model, "prior", {}) if name in model.summed]:
        return summed[0]
    mixed = (name for name, prior in getattr(model, "prior", {}).items() if isinstance(prior, (Mixture, FullMixture)))
    return next(mixed, None)


def labelled_latent(model: Any) -> bool:
    """Whether the class of a model is the label of the data, rather than a cluster that has no name."""
    name = class_latent(model)
    return name is not None and getattr(model.prior[name], "of", None) == "y"


def class_probabilities(source: Any, split: Split, seed: int = 0, device: torch.device | str | None = None) -> Tensor:
    """q(c | x) of every example, the latents that it reads at their centres, float64 [N, C] on the CPU.

    Of a mixture prior c is the component, and q(c | x) = p(c | z). TypeError for a model without classes.
    """
    return log_class_probabilities(source, split, seed, device).exp()


def log_class_probabilities(
    source: Any, split: Split, seed: int = 0, device: torch.device | str | None = None
) -> Tensor:
    """log q(c | x), see `class_probabilities`: finite where a probability is too small for a number."""
    name = class_latent(source_of(source, "encode", "prior", what="a classification").model)
    if name is None:
        raise TypeError("a classification needs a model with classes: m2, vade, gmvae, or one with a mixture prior")

    def measure(model: VAE, batch: Values) -> Tensor:
        if name in model.summed:
            law: Any = model.encode(batch)[name]
            return law.logits.double().log_softmax(-1)
        mixture: Any = model.prior[name](batch)
        z = model.centres(batch)[name].double()
        parts = mixture.component_distribution if mixture.alike is None else mixture.alike
        return (parts.log_prob(z.unsqueeze(1)) + mixture.mixture_distribution.logits.log_softmax(-1)).log_softmax(-1)

    return torch.cat([each.cpu().double() for each in each_block(source, split, measure, seed, device)])


def known_labels(split: Split) -> tuple[Tensor, Tensor] | None:
    """The classes y, int64 [N], and which of them are known, boolean [N], on the CPU; None where none is."""
    y, known = split.tensors.get("y"), split.tensors.get(KNOWN)
    if y is None or y.ndim != 1 or y.is_floating_point() or not len(y):
        return None
    known = torch.ones(len(y), dtype=torch.bool) if known is None else known.bool()
    return (y.cpu(), known.cpu()) if bool(known.any()) else None


def clustering(found: Tensor, labels: Tensor) -> dict[str, Any]:
    """How well clusters [N] agree with labels [N], integers from 0, by measures that ask for no names.

    accuracy: the share of examples in the cluster of their label, each cluster given to one label at most, as well as
    it can be. purity: the same with each cluster given to its most frequent label, which many small clusters flatter.
    nmi: I(c; y) over the mean of H(c) and H(y). ari: the share of pairs on which both agree, 0 by chance and 1 at best.
    used: how many clusters hold examples.

    Kuhn: The Hungarian Method for the Assignment Problem, 1955; Strehl, Ghosh: Cluster Ensembles, 2002; Hubert, Arabie:
    Comparing Partitions, 1985.
    """
    from scipy.optimize import linear_sum_assignment

    sizes = int(found.max()) + 1, int(labels.max()) + 1
    table = torch.bincount(found * sizes[1] + labels, minlength=sizes[0] * sizes[1]).view(sizes).double()
    count = float(table.sum())
    rows, columns = linear_sum_assignment(table.numpy(), maximize=True)
    shares = [table / count, table.sum(1) / count, table.sum(0) / count]
    both, of_clusters, of_labels = (float(torch.special.entr(share).sum()) for share in shares)
    mean = (of_clusters + of_labels) / 2
    pairs, one, other = (float((each * (each - 1) / 2).sum()) for each in (table, table.sum(1), table.sum(0)))
    chance, most = one * other / max(1.0, count * (count - 1) / 2), (one + other) / 2
    return {
        "accuracy": float(table[rows, columns].sum()) / count,
        "purity": float(table.amax(1).sum()) / count,
        "nmi": 1.0 if mean == 0 else (2 * mean - both) / mean,
        "ari": 1.0 if most == chance else (pairs - chance) / (most - chance),
        "used": int((table.sum(1) > 0).sum()),
    }


def classification(log_probabilities: Tensor, labels: Tensor) -> dict[str, Any]:
    """How good log-probabilities [N, C] are of labels [N]: what they get wrong, and whether they mean what they say.

    error: the share whose likeliest class is another. log_loss: -log p of the label, nats. brier: the squared distance
    to the one-hot label. calibration_error: how far the likeliest class's probability is from how often it is right,
    over 15 intervals of it, each by its share of the examples; bins: of each, [from, to, share, probability, right].

    Brier: Verification of Forecasts Expressed in Terms of Probability, 1950; Naeini, Cooper, Hauskrecht: Obtaining Well
    Calibrated Probabilities Using Bayesian Binning, 2015.
    """
    probabilities = log_probabilities.exp()
    told, chosen = probabilities.max(1)
    right = (chosen == labels).double()
    place = (told * BINS).long().clamp(max=BINS - 1)
    counts, sure, hit = (torch.zeros(BINS, dtype=torch.float64) for _ in range(3))
    for total, values in ((counts, torch.ones_like(told)), (sure, told), (hit, right)):
        total.index_add_(0, place, values)
    filled = counts.clamp(min=1)
    one_hot = torch.zeros_like(probabilities).scatter_(1, labels[:, None], 1.0)
    log_p = log_probabilities.gather(1, labels[:, None])
    edges = torch.arange(BINS + 1).double() / BINS
    bins = torch.stack([edges[:-1], edges[1:], counts / len(labels), sure / filled, hit / filled], 1)
    return {
        "error": 1 - float(right.mean()),
        "log_loss": -float(log_p.mean()),
        "brier": float((probabilities - one_hot).square().sum(1).mean()),
        "calibration_error": float((sure - hit).abs().sum() / len(labels)),
        "bins": [each for each in bins.tolist() if each[2]],
    }


def scaled(log_probabilities: Tensor, temperature: float) -> Tensor:
    """log softmax(log p / T): the same order of classes, less sure of it where T > 1.

    Guo, Pleiss, Sun, Weinberger: On Calibration of Modern Neural Networks, 2017.
    """
    return (log_probabilities / temperature).log_softmax(1)


def fitted_temperature(log_probabilities: Tensor, labels: Tensor) -> float:
    """The temperature between e^-5 and e^5 with the least log loss on examples that were not trained on."""
    low, high = -5.0, 5.0  # of log T, where the loss has one minimum
    for _ in range(60):
        a, b = low + (high - low) * 0.382, low + (high - low) * 0.618
        losses = [float(nn.functional.cross_entropy(log_probabilities / exp(each), labels)) for each in (a, b)]
        low, high = (low, b) if losses[0] < losses[1] else (a, high)
    return exp((low + high) / 2)


def named_clusters(probabilities: Tensor, labels: Tensor, classes: int) -> Tensor:
    """p(y | c) [C, classes] out of q(c | x) [N, C] of examples with labels [N].

    Every cluster has one example more, of all labels by their shares.
    """
    one_hot = torch.zeros(len(labels), classes, dtype=probabilities.dtype).scatter_(1, labels[:, None], 1.0)
    counts = probabilities.T @ one_hot + MARGIN * one_hot.mean(0)
    return counts / counts.sum(1, keepdim=True)


def class_report(source: Any, split: Split, seed: int, device: torch.device | str | None) -> dict[str, Any]:
    """What `evaluate` tells of classes: "clusters" where there are labels, "classification" where they are the model's
    own; nothing of a model without classes."""
    model, labels = source_of(source).model, known_labels(split)
    if class_latent(model) is None or labels is None:
        return {}
    y, known = labels
    log_p = log_class_probabilities(source, split, seed, device)[known]
    found = {"count": log_p.shape[1], "examples": len(log_p)}
    report: dict[str, Any] = {"clusters": {**found, **clustering(log_p.argmax(1), y[known])}}
    if labelled_latent(model):
        told = classification(log_p, y[known])
        report["classification"] = {key: value for key, value in told.items() if key != "bins"}
    return report


@dataclass(frozen=True)
class Classified:
    """What a model says of the label of N examples: probabilities [N, classes], float64, and of which it is told.

    `raw`, `calibrated`: the measures of `classification` where labels are known, before and after the `temperature`,
    which is None without labelled examples that were not trained on.
    """

    probabilities: Tensor
    temperature: float | None
    raw: Mapping[str, Any] | None
    calibrated: Mapping[str, Any] | None


def classify(
    source: Any,
    split: Any,
    train: Split | None = None,
    held: Split | None = None,
    classes: int | None = None,
    seed: int = 0,
    device: torch.device | str | None = None,
) -> Classified:
    """p(y | x) of every example of a split, by a model whose classes are labels, or whose clusters have names by some.

    `split`: examples, in whatever form `Run.score` takes them.

    p(y | x) = sum_c q(c | x) p(y | c) of clusters, p(y | c) by the known labels of `train`, which has `classes` of
    them. `held`: examples that were not trained on, whose known labels set the temperature. ValueError where clusters
    have no labels to be named by.
    """
    names, split = None, taken(split, recorded_spec(source))
    if not labelled_latent(source_of(source).model):
        told = None if train is None else known_labels(train)
        if train is None or told is None or classes is None:
            raise ValueError("clusters are named by labels of the training part, of which none is known")
        part = train.take(told[1].nonzero()[:, 0])
        names = named_clusters(class_probabilities(source, part, seed, device), told[0][told[1]], classes)

    def found(part: Split) -> Tensor:
        made = log_class_probabilities(source, part, seed, device)
        if names is None:
            return made
        # One product, and no array of examples by clusters by labels: the likeliest cluster's share does not vanish.
        peak = made.amax(1, keepdim=True)
        return ((made - peak).exp() @ names).log() + peak

    temperature, log_p, labels = None, found(split), known_labels(split)
    aside = None if held is None or not len(held) else known_labels(held)
    if held is not None and aside is not None:
        part = held.take(aside[1].nonzero()[:, 0])
        temperature = fitted_temperature(found(part), aside[0][aside[1]])
    judged = [log_p] + ([] if temperature is None else [scaled(log_p, temperature)])
    raw, calibrated = None, None
    if labels is not None:
        y, known = labels
        raw, *others = (classification(each[known], y[known]) for each in judged)
        calibrated = others[0] if others else None
    return Classified(judged[-1].exp(), temperature, raw, calibrated)
