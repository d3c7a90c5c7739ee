"""The arrays of figures of classes: examples and samples of each, and whether probabilities mean what they say."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from polyvae.data.split import Split
from polyvae.evaluation.blocks import evaluating, seeded
from polyvae.evaluation.classes import Classified, class_latent, class_probabilities, known_labels, labelled_latent
from polyvae.evaluation.numbers import so_many
from polyvae.figures.kinds import Clusters, Reliability
from polyvae.figures.looks import look_of
from polyvae.figures.subject import subject_of, without_gaps


def clusters(source: Any, split: Split, examples: int = 8, samples: int = 8, seed: int = 0) -> Clusters:
    """Every class of a model: its size, its purity, the most sure of its examples in a split, NaN after the last, and
    samples.

    Of a mixture prior, whose components are not drawn from one by one, there are no samples. ValueError for a model
    without classes.
    """
    subject = subject_of(source, split, "generate")
    name, model = class_latent(subject.model), subject.model
    if name is None:
        raise ValueError("a figure of clusters needs a model with classes, such as vade, gmvae or m2")
    chances = class_probabilities(source, split, seed)
    found, labels, look = chances.argmax(1), known_labels(split), look_of(source, split)
    words = []
    for number in range(chances.shape[1]):
        mine = found == number
        count = so_many(int(mine.sum()), "example")
        told = f"{look.label(number) if labelled_latent(model) else number}: {count}"
        if labels is not None and bool((mine & labels[1]).any()):
            counts = torch.bincount(labels[0][mine & labels[1]])
            share = f"{100 * int(counts.max()) / int(counts.sum()):.0f} %"
            told += f', {share} are "{look.label(int(counts.argmax()))}"'
        words.append(told)
    classes = torch.arange(chances.shape[1])
    members = chances.where(found[:, None] == classes, -1.0)
    best = members.topk(min(examples, len(split)), 0).indices.T
    with evaluating(model) as device, seeded(device, seed, 3):
        batch = subject.batch(split.take(best.flatten()), range(best.numel()), device, seed)
        shown = subject.array(without_gaps(batch[subject.of], batch))
        shown = np.array(shown.reshape(*best.shape, *shown.shape[1:]))
        shown[(found[best] != classes[:, None]).numpy()] = np.nan
        drawn = shown[:, :0]
        if name in model.summed and samples:
            eye = torch.eye(chances.shape[1], device=device)
            law = model.generate(count=samples, fixed={name: eye})[subject.head]
            made = subject.array(law.sample() if len(law.event_shape) == 1 else law.mean)
            drawn = made.reshape(samples, -1, *made.shape[1:]).swapaxes(0, 1)
    return Clusters(examples=shown, samples=drawn, rows=tuple(words), **subject.look.words())


def reliability(found: Classified) -> Reliability:
    """How often a class is right beside how probable it was told to be, as it comes and after its temperature."""
    measured = {"as it comes": found.raw, f"temperature {found.temperature or 1:.2f}": found.calibrated}
    return Reliability({name: np.array(told["bins"]) for name, told in measured.items() if told is not None})
