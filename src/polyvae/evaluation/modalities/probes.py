"""How much of the class a linear classifier reads off the posterior's mean, given some of the modalities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from polyvae.data.cuts import subset
from polyvae.data.split import Split
from polyvae.evaluation.blocks import each_block, joined
from polyvae.evaluation.disentanglement.prediction import linear_accuracy
from polyvae.evaluation.modalities.given import having, only
from polyvae.model.posteriors.experts import every
from polyvae.model.spec import Spec

ALL = "all"


@dataclass(frozen=True)
class Probe:
    """Accuracy on test codes of a logistic regression that has learned from training codes of one latent.

    `latent`: its name, "all" of several latents side by side. `given`: what the posterior was shown in both parts.
    """

    given: tuple[str, ...]
    latent: str
    dimensions: int
    accuracy: float


def linear_probes(
    source: Any,
    train: Split,
    test: Split,
    specs: Mapping[str, Spec],
    given: Sequence[Sequence[str]] | None = None,
    fitted: int = 10_000,
    seed: int = 0,
    device: torch.device | str | None = None,
) -> list[Probe]:
    """The probes of every latent for every subset of modalities given, or for those in `given`.

    `fitted`: so many training rows are learned from, a seeded subset. Codes are the posteriors' means, standardised by
    those of the training rows. ValueError without labels.
    """
    if train.labels is None or test.labels is None:
        raise ValueError("a probe needs the label y of every row, in both parts")
    found = []
    for names in every(tuple(specs)) if given is None else given:
        learned, judged = subset(having(train, names), fitted, seed), having(test, names)
        codes = [codes_given(source, part, specs, names, seed, device) for part in (learned, judged)]
        labels = [part.tensors["y"].cpu().numpy() for part in (learned, judged)]
        for latent in codes[0]:
            one, other = (each[latent].double().numpy() for each in codes)
            accuracy = linear_accuracy(one, labels[0], other, labels[1])
            found.append(Probe(tuple(names), latent, one.shape[1], accuracy))
    return found


def codes_given(
    source: Any,
    split: Split,
    specs: Mapping[str, Spec],
    given: Sequence[str],
    seed: int = 0,
    device: torch.device | str | None = None,
) -> dict[str, Tensor]:
    """The mean of q(z | x_A) of every row and latent, [N, d] on the CPU, and side by side where there are several."""

    def measure(model: Any, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: value.flatten(1) for name, value in model.centres(batch).items()}

    found = joined(each_block(only(source, specs, given), split, measure, seed, device))
    return found if len(found) == 1 else {**found, ALL: torch.cat(list(found.values()), 1)}
