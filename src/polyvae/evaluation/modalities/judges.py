"""What tells the class of a modality's values: classifiers that have seen real training values alone."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from polyvae.data.memory_maps import Rows
from polyvae.data.split import Data, Split, floats
from polyvae.evaluation.blocks import BLOCK, evaluating
from polyvae.evaluation.classifier import train_classifier
from polyvae.evaluation.zero_shot import softmax_regression
from polyvae.model.networks.prepared import Standardise
from polyvae.model.presence import present
from polyvae.model.spec import Spec


@dataclass(frozen=True)
class Judge:
    """A classifier of the values of one modality: `module` maps values [B, ...] to logits [B, classes].

    `accuracy`: on real test values, None without any: no coherence is to be read without it. `picture`: whether the
    values are pictures and the module has `features`, in which Fréchet distances are taken.
    """

    module: nn.Module
    accuracy: float | None = None
    picture: bool = True

    def __call__(self, values: Tensor) -> tuple[Tensor, Tensor | None]:
        """The likeliest class [N] and, of pictures, the features [N, d], on the CPU."""
        labels, features = [], []
        read = getattr(self.module, "features", None) if self.picture else None
        with evaluating(self.module) as device:
            for part in values.split(BLOCK):
                x = part.to(device)
                labels.append(self.module(x).argmax(1).cpu())
                features += [] if read is None else [read(x).cpu()]
        return torch.cat(labels), torch.cat(features) if features else None


def judges(
    data: Data, cache: str | os.PathLike[str] | None = None, seed: int = 0, steps: int = 2000
) -> dict[str, Judge]:
    """A judge of every modality, trained on each real value of the training part once.

    Pictures have a small convolutional classifier, see `train_classifier`, with its `cache` and `steps`; all else, such
    as the characters of a word, a softmax regression on what a network would read. ValueError without labels.
    """
    return {name: _judge(spec, name, data, cache, seed, steps) for name, spec in data.spec.values.items()}


def real(split: Split, name: str) -> Split:
    """The real values of one modality as x, and their labels y: of values that stand in several rows, one each."""
    if split.labels is None:
        raise ValueError("coherence needs the label y of every row, and these have none")
    tensors, rows = split.tensors, torch.arange(len(split), device=split.device)
    if present(name) in tensors:
        rows = rows[tensors[present(name)].bool()]
    if isinstance(tensors, Rows) and name in tensors.index and len(rows):  # a split that is taken may be a copy
        _, which = tensors.index[name][rows].unique(return_inverse=True)
        first = torch.full_like(rows, len(split))[: int(which.max()) + 1]
        rows = first.scatter_reduce(0, which, rows, "amin")
    held = split.take(rows)
    if held.transform is None:
        return Split({"x": held.tensors[name], "y": held.tensors["y"]})
    found = held.batch(torch.arange(len(held), device=held.device))  # as models see them
    return Split({"x": found[name], "y": found["y"]})


def _judge(spec: Spec, name: str, data: Data, cache: str | os.PathLike[str] | None, seed: int, steps: int) -> Judge:
    train, test = real(data.train, name), data.test if len(data.test) else data.validation
    picture = len(spec.x) == 3 and not spec.columns
    if picture:
        module: nn.Module = train_classifier(train, cache, seed, steps)
    else:
        layers = [Standardise(spec.columns)] if spec.columns else []
        first = nn.Sequential(*layers, nn.Flatten())
        y = train.tensors["y"]
        with torch.no_grad():
            read = first(floats(train.tensors["x"]))
        module = nn.Sequential(*first, softmax_regression(read, y, int(y.max()) + 1))
    judge, told = Judge(module.eval(), None, picture), None
    if len(test):
        held = real(test, name).tensors
        told = float((judge(floats(held["x"]))[0] == held["y"].cpu()).double().mean())
    return replace(judge, accuracy=told)
