"""Coherence: how often what is made shows the class of what it was made of, and modalities made together agree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

import torch
from torch import Tensor

from polyvae.data.split import Split, floats
from polyvae.evaluation.modalities.generation import Judged, Translate, Translator, drawn_jointly, translated
from polyvae.evaluation.modalities.given import having
from polyvae.evaluation.modalities.judges import Judge
from polyvae.model.posteriors.experts import every

PIECE = 1000  # rows read at a time


@dataclass(frozen=True)
class Share:
    """A share of draws with its standard error, which counts the draws of one row as one observation."""

    value: float
    error: float
    draws: int


@dataclass(frozen=True)
class Cross:
    """Coherence of one modality made out of others: `target` out of `given`, of which it is one in a reconstruction."""

    given: tuple[str, ...]
    target: str
    coherence: Share

    @property
    def crosses(self) -> bool:
        """Whether the target is made of other modalities alone."""
        return self.target not in self.given


def cross_coherence(
    translate: Translate,
    split: Split,
    judges: Mapping[str, Judge],
    given: Sequence[Sequence[str]] | None = None,
    draws: int = 10_000,
    seed: int = 0,
) -> list[Cross]:
    """The share of draws that show the class of the row they were made of, for every subset given and every target.

    `translate`: a `Translator` of a model, or any function of values given that makes others, such as a baseline.
    `judges`: of the targets, see `judges`; the accuracy of each on real values is what a perfect translation would
    reach. `given`: the subsets, every one that is not empty by default. ValueError without labels.
    """
    found = translations(translate, split, judges, given, draws, seed)
    return [each for _, coherent, _ in found for each in coherent]


def translations(
    translate: Translate,
    split: Split,
    judges: Mapping[str, Judge],
    given: Sequence[Sequence[str]] | None = None,
    draws: int = 10_000,
    seed: int = 0,
) -> Iterator[tuple[tuple[str, ...], list[Cross], dict[str, Judged]]]:
    """The same subset by subset, with what the judges saw, which may be too much to hold of all at once."""
    for names in every(tuple(judges)) if given is None else given:
        held = having(split, names)
        if held.labels is None:
            raise ValueError("coherence needs the label y of every row, and these have none")
        judged = translated(translate, held, names, judges, draws, seed)
        yield (
            tuple(names),
            [Cross(tuple(names), m, right(each, held.labels.cpu())) for m, each in judged.items()],
            judged,
        )


def right(judged: Judged, labels: Tensor) -> Share:
    """The share of what was judged that has the label [N] of its row."""
    if judged.rows is None:
        raise ValueError("what is drawn from the prior was made of no row, and has no label to be compared with")
    return share(judged.classes == labels[judged.rows], judged.rows)


def joint_coherence(
    translator: Translator, judges: Mapping[str, Judge], draws: int = 10_000, seed: int = 0
) -> tuple[Share, dict[str, Judged]]:
    """The share of draws of the prior whose modalities all show one class, and what the judges saw."""
    judged = drawn_jointly(translator, judges, draws, seed)
    return share(agreeing([each.classes for each in judged.values()])), judged


def real_agreement(split: Split, judges: Mapping[str, Judge]) -> Share:
    """The share of real rows, of those that have all modalities, in which the judges agree: what joint coherence would
    reach at best."""
    held = having(split, tuple(judges))
    found = []
    for index in torch.arange(len(held), device=held.device).split(PIECE):
        part = held.take(index)
        found.append(agreeing([judge(floats(part.tensors[name]))[0] for name, judge in judges.items()]))
    return share(torch.cat(found))


def agreeing(classes: Sequence[Tensor]) -> Tensor:
    """Which of N draws have one class [N] in all modalities."""
    return (torch.stack(list(classes)) == classes[0]).all(0)


def share(hits: Tensor, rows: Tensor | None = None) -> Share:
    """The share of N truth values that are True, and its standard error: of draws of one row together, where `rows`
    says whose each is, since these are alike."""
    value = hits.double().mean()
    apart = hits.double() - value
    sums = apart if rows is None else torch.zeros(int(rows.max()) + 1, dtype=torch.float64).index_add_(0, rows, apart)
    return Share(float(value), sqrt(float(sums.square().sum())) / len(hits), len(hits))


def by_count(found: Sequence[Cross]) -> dict[int, float]:
    """Mean coherence of modalities made of others by how many were given: over targets, of the means over subsets."""
    made: dict[int, dict[str, list[float]]] = {}
    for each in found:
        if each.crosses:
            made.setdefault(len(each.given), {}).setdefault(each.target, []).append(each.coherence.value)
    means = {count: [sum(held) / len(held) for held in of.values()] for count, of in sorted(made.items())}
    return {count: sum(held) / len(held) for count, held in means.items()}


def commonest(split: Split) -> float:
    """The share of the commonest class: the coherence of one value of that class for all rows. ValueError without
    labels."""
    if split.labels is None:
        raise ValueError("coherence needs the label y of every row, and these have none")
    return int(split.labels.bincount().max()) / len(split)


def as_dict(found: Any) -> dict[str, Any]:
    """A `Share` or a `Cross` as JSON holds it."""
    if isinstance(found, Cross):
        return {"given": list(found.given), "target": found.target, **as_dict(found.coherence)}
    return {"coherence": found.value, "error": found.error, "draws": found.draws}
