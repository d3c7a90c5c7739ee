"""The report on a model of several modalities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from polyvae.checks.names import gathered
from polyvae.checks.ranges import Amount, Count, Seed, check
from polyvae.data.cuts import subset
from polyvae.data.exchange.codes import retold
from polyvae.data.split import Data, Split
from polyvae.evaluation.bits import Bits, bits_of
from polyvae.evaluation.blocks import Progress, evaluating, source_of
from polyvae.evaluation.modalities.bounds import Mean, SubsetBound, predictive_densities, subset_bounds
from polyvae.evaluation.modalities.coherence import (
    Cross,
    as_dict,
    by_count,
    commonest,
    real_agreement,
    translations,
)
from polyvae.evaluation.modalities.distances import Reference, distance, joint_draws, references
from polyvae.evaluation.modalities.generation import Translator
from polyvae.evaluation.modalities.given import having, only, specs_of
from polyvae.evaluation.modalities.judges import Judge
from polyvae.evaluation.modalities.probes import linear_probes
from polyvae.evaluation.pictures import recorded_spec
from polyvae.model.posteriors.experts import every
from polyvae.model.spec import Modality, Spec
from polyvae.model.weights import check_weights

COHERENCE = (
    "coherence: of the expected x | z, one z ~ q(z | x_A) a row; read it beside the judges' accuracy on real values"
)
PREDICTIVE = (
    "predictive: log E_{q(z | x_A)} p(x_B | z), a density of x_B; log p(x_B | x_A) of the model only where q is its "
    "posterior"
)


@dataclass(frozen=True)
class ModalitySettings:
    """How a model of several modalities is evaluated.

    draws: values that are made for each subset given, and out of the prior; 0 for no coherence.
    samples: K of the bounds and of predictive densities, draws of the latents for each example; 0 for none of them.
    scored: on how many rows these are told, a seeded subset.
    fitted: training rows that a linear probe learns from, 0 for no probe.
    judges: a classifier of each modality, see `judges`; without them there is no coherence and no distance.
    seed: of the draws and of the rows that stand for all.
    device: where the model is evaluated; where it lies, if none is named.
    """

    draws: Amount = 10_000
    samples: Amount = 100
    scored: Count = 1000
    fitted: Amount = 10_000
    judges: Mapping[str, Judge] | None = None
    seed: Seed = 0
    device: torch.device | str | None = None

    def __post_init__(self) -> None:
        check(ModalitySettings, vars(self))


def evaluate_modalities(
    source: Any, data: Data, *, progress: Progress | None = None, **settings: Any
) -> dict[str, Any]:
    """A report on a model of several modalities over the test part, in numbers, text, lists and dicts.

    `source`: a recipe or a run. `data`: of several modalities; the validation part stands in where no test part was
    cut. `settings`: those of `ModalitySettings`.

    judges: the accuracy of each on real test values. coherence: for every subset given and every target the share of
    draws with the row's class, its standard error, and of pictures the Fréchet distance at `real_count` draws, in the
    judge's features. commonest: the share of the commonest class, which one value for all rows comes to. by_count: mean
    coherence of targets made of others by how many were given. joint: the share of draws of the prior on which all
    judges agree, the same of real rows, and Fréchet distances. real: the distance of real training pictures. probes:
    accuracy of linear classifiers of latents, see `linear_probes`. bounds: on log p(x_A) of each modality and of all,
    see `subset_bounds`. predictive: see `predictive_densities`; both in nats, bounds also in bits per dimension where
    that means something, without the weights of heads. What is left out is told in notes.

    Raises NonFiniteError where a weight is not finite, TypeError for an unknown setting and for what is no Data,
    ValueError for a model of one x, for one that reads more than modalities, and for data of others.
    """
    if not isinstance(data, Data):
        raise TypeError(f"data are Data, of which the training part is read too; got {type(data).__name__}")
    asked, specs, notes = gathered(ModalitySettings, settings), specs_of(source, data), list[str]()
    model = source_of(source, "generate", "heads", what="an evaluation of modalities").model
    check_weights(model)
    if {*data.spec.values} != {*specs}:
        raise ValueError(
            f"the modalities of this model are {', '.join(specs)}; got data of {', '.join(data.spec.values)}"
        )
    data = data if (spec := recorded_spec(source)) is None else retold(data, spec)
    test = data.test if len(data.test) else data.validation
    if test is data.train:
        notes.append("these are training rows, which judges have learned too: coherence of real values is at its best")
    report: dict[str, Any] = {"modalities": list(specs), "examples": len(test), "seed": asked.seed}
    labelled = data.train.labels is not None and test.labels is not None
    with evaluating(model, asked.device):
        if asked.draws and labelled and asked.judges:
            notes.append(COHERENCE)
            report |= _coherence(Translator(source, specs), data.train, test, asked)
        else:
            why = (
                "no label is known of every row"
                if not labelled
                else "there are no judges"
                if asked.draws
                else "draws=0"
            )
            notes.append(f"no coherence and no Fréchet distance: {why}")
        if asked.fitted and labelled:
            found = linear_probes(source, data.train, test, specs, fitted=asked.fitted, seed=asked.seed)
            report["probes"] = [{**vars(each), "given": list(each.given)} for each in found]
        if asked.samples:
            notes.append(PREDICTIVE)
            report |= _likelihoods(source, subset(test, asked.scored, asked.seed), specs, asked, notes, progress)
    return {**report, "notes": notes}


def _coherence(translator: Translator, train: Split, test: Split, asked: ModalitySettings) -> dict[str, Any]:
    judges = {name: judge for name, judge in (asked.judges or {}).items() if name in translator.specs}
    real = references(train, test, judges, asked.draws, asked.seed)
    crosses: list[Cross] = []
    lines: list[dict[str, Any]] = []
    for _, coherent, judged in translations(translator, test, judges, draws=asked.draws, seed=asked.seed):
        crosses += coherent
        lines += [
            {**as_dict(each), "frechet": distance(judged[each.target], real.get(each.target))} for each in coherent
        ]
    agreed, distances = joint_draws(translator, judges, real, asked.draws, asked.seed)
    return {
        "judges": {name: judge.accuracy for name, judge in judges.items()},
        "coherence": lines,
        "commonest": commonest(test),
        "by_count": [{"given": count, "coherence": value} for count, value in by_count(crosses).items()],
        "joint": {
            **as_dict(agreed),
            "real": real_agreement(test, judges).value,
            "frechet": distances,
        },
        # Of training rows among training rows it would be none.
        "real": {} if test is train else {name: _told(each) for name, each in real.items()},
    }


def _told(reference: Reference) -> dict[str, Any]:
    return {"frechet": reference.distance, "count": len(reference.features)}


def _likelihoods(
    source: Any,
    test: Split,
    specs: Mapping[str, Spec],
    asked: ModalitySettings,
    notes: list[str],
    progress: Progress | None,
) -> dict[str, Any]:
    bounds = subset_bounds(source, test, specs, None, asked.samples, asked.seed, progress=progress)
    bits = _bits(source, test, specs, bounds, asked.seed, notes)
    densities = [
        each
        for given in every(tuple(specs))[:-1]
        for each in predictive_densities(source, test, specs, given, asked.samples, asked.seed)
    ]
    return {
        "samples": asked.samples,
        "bounds": [
            {
                "given": list(each.given),
                **_mean("bound", each.bound),
                "bound_bits": scale.of(each.bound.value),
                **_mean("importance_bound", each.importance),
                "importance_bound_bits": scale.of(each.importance.value),
            }
            for each, scale in zip(bounds, bits, strict=True)
        ],
        "predictive": [
            {"given": list(each.given), "targets": list(each.targets), **_mean("log_density", each.log_density)}
            for each in densities
        ],
    }


def _bits(
    source: Any,
    test: Split,
    specs: Mapping[str, Spec],
    bounds: Sequence[SubsetBound],
    seed: int,
    notes: list[str],
) -> list[Bits]:
    """How the bounds become bits per dimension; what is approximate or missing joins the notes, once."""
    whole, said, found = Spec(modalities=tuple(Modality(*each) for each in specs.items())), list[str](), list[Bits]()
    for each in bounds:
        shown = only(source, specs, each.given)
        found.append(bits_of(shown, having(test, each.given), whole, seed, None, said))
    notes += _merged(said)
    return found


def _merged(said: Sequence[str]) -> list[str]:
    """Notes "NAME: what", the names of the same words together."""
    names: dict[str, dict[str, None]] = {}
    for note in said:
        name, words = note.split(": ", 1)
        names.setdefault(words, {})[name] = None
    return [f"{', '.join(found)}: {words}" for words, found in names.items()]


def _mean(name: str, mean: Mean) -> dict[str, Any]:
    return {name: mean.value, f"{name}_error": mean.error, "examples": mean.examples}
