"""Everything that is known of a model on a split, as one dict that JSON can hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isfinite, log, log2, sqrt
from typing import Any

import torch
from torch import Tensor, nn

from polyvae.checks.finite import NonFiniteError
from polyvae.checks.names import gathered
from polyvae.checks.ranges import Amount, Count, Seed, check
from polyvae.data.columns.kinds import some
from polyvae.data.exchange.codes import retold
from polyvae.data.exchange.given import taken
from polyvae.data.readers.arrays import spec_of
from polyvae.data.split import Data, Split
from polyvae.evaluation.ais import check_annealed
from polyvae.evaluation.bits import Bits, bits_of
from polyvae.evaluation.blocks import Progress, device_of, source_of
from polyvae.evaluation.bounds import Bounds, both_bounds
from polyvae.evaluation.classes import class_report
from polyvae.evaluation.code_use import CodeUse
from polyvae.evaluation.codes import ACTIVE, Code, describe_codes
from polyvae.evaluation.columns import by_column, told
from polyvae.evaluation.frechet import frechet_report
from polyvae.evaluation.gaps import gaps
from polyvae.evaluation.hidden import kept_from, without
from polyvae.evaluation.information import informed
from polyvae.evaluation.moments import WIDEST
from polyvae.evaluation.pictures import (
    errors,
    first_head,
    in_unit,
    limits_of,
    reconstructed,
    recorded_spec,
    scored_values,
)
from polyvae.model.draw import first_heads
from polyvae.model.spec import Spec
from polyvae.model.weights import check_weights


@dataclass(frozen=True)
class EvaluationSettings:
    """How a model is evaluated.

    samples: draws of the latents for each example, K of both bounds.
    seed: of the draws, and of the examples that stand for all where not all are needed.
    device: where it is computed; where the model lies, if none is named.
    spec: of the data, the recipe's own by default.
    frechet: how many samples are set beside as many real pictures, 0 for none.
    classifier: in whose features, see `train_classifier`.
    train: the training part, whose range is the scale of what leaves [0, 1]; that of Data by default.
    refine: gradient steps on each example's posterior, 0 for none, see `refined`.
    ais: temperatures of annealed importance sampling, 0 for none, see `annealed`.
    ais_examples: on how many examples, a seeded subset.
    without: conditions that the model is not told, of those it has learned to do without: names, or a text with commas.
    """

    samples: Count = 5000
    seed: Seed = 0
    device: torch.device | str | None = None
    spec: Spec | None = None
    frechet: Amount = 0
    classifier: nn.Module | None = None
    train: Split | None = None
    refine: Amount = 0
    ais: Amount = 0
    ais_examples: Count = 100
    without: str | Sequence[str] | None = None

    def __post_init__(self) -> None:
        check(EvaluationSettings, vars(self))


def evaluate(source: Any, data: Any, *, progress: Progress | None = None, **settings: Any) -> dict[str, Any]:
    """A report on a model over data, in numbers, text, lists and dicts.

    `source`: a recipe, a run, a VAE, or any module that called with a batch and a number of samples returns a `Draw`;
    of a module without `encode` and `reconstruct` codes and reconstruction are left out. `data`: a Split, or what `fit`
    takes; of Data the test part, or the validation part where none was cut. `settings`: those of `EvaluationSettings`.

    bound, importance_bound: on log p(x) in nats per example, or on log p(x | given) where `given` names what priors and
    heads read (bounds given m compare only at the same masks); `*_error`, their standard error over the examples,
    `*_bits`, bits per dimension; discrete: whether they are of probabilities, or of densities, None of both.
    reconstruction: -E log p(x | z) of each head in nats; kl: of all latents in nats. information: energy, entropy, free
    energy, rate and distortion, and what each latent carries, in nats and bits, see `Information`.
    latents: for each one its kl, rate in bits, active units, information I(x; z), aggregate posterior, and of a
    codebook its size, positions, perplexity and share of words used. mse, psnr (dB), ssim: of the deterministic
    reconstruction; pictures in [0, 1] are clamped to it, other values are not, and have PSNR and SSIM on the scale on
    which each channel of the training part becomes [0, 1]; tables with categories, whose codes are in no order, have no
    mse. unexplained, wrong, columns: of tables and fields, see `column_errors`. frechet: the distance of samples to
    real pictures. clusters, classification: of a model with classes, over labelled examples, see `clustering` and
    `classification`. refined, ais: on request, the plain bound of refined posteriors and log p(x) by annealed
    importance sampling, see `gaps`. Whatever is None or approximate is explained in notes.

    Raises NonFiniteError, by name, where a weight is not finite or a bound is not a number, TypeError for an unknown
    setting, ValueError where `refine` or `ais` is none of what the model allows. No training weight enters, the model's
    mode and torch's generators are left as they were, and nothing depends on a batch size.
    """
    asked = gathered(EvaluationSettings, settings)
    spec = asked.spec or recorded_spec(source)
    data = retold(data, spec) if isinstance(data, Data) else data
    split = taken(data, spec, gaps="seen" in getattr(source_of(source).model, "inputs", ()))
    asked = replace(asked, spec=spec or spec_of(split.tensors))
    if asked.train is None and isinstance(data, Data):
        asked = replace(asked, train=data.train)
    model, notes = source_of(source).model, []
    check_weights(model)
    source = without(source, asked.without)
    if asked.ais:
        check_annealed(model)  # the bounds before it take their time
    found = both_bounds(source, split, asked.samples, asked.seed, asked.device, progress)
    report = {**_bounds(source, split, asked, found, notes), "latents": {}, "mse": None, "psnr": None, "ssim": None}
    described: dict[str, Code] = {}
    report |= gaps(source, split, found, asked.refine, (asked.ais, asked.ais_examples), asked.seed, asked.device)
    if missing := [name for name in ("encode", "reconstruct") if not hasattr(model, name)]:
        what = "no codes, no reconstruction" + ", no Fréchet distance" * bool(asked.frechet)
        notes.append(f"{what}: {type(model).__name__} has no {' and no '.join(missing)}")
    else:
        described = describe_codes(source, split, asked.seed, asked.device)
        report["latents"] = {name: _latent(name, code, found, notes) for name, code in described.items()}
        report.update(_reconstruction(source, split, asked, notes))
        report |= class_report(source, split, asked.seed, asked.device)
    heads = getattr(model, "heads", None)
    told = informed(found, described, list(found.heads) if heads is None else first_heads(heads))
    report["information"] = told.as_dict()
    _tell_information(report)
    if high := [name for name, each in told.latents.items() if each.at_limit]:
        notes.append(
            f"the information of {some(high)} is at its ceiling, the logarithm of so many examples: the true one may "
            "be anything between it and what it is at most"
        )
    report["notes"] = notes
    return _jsonable(report, "", notes)


def _bounds(source: Any, split: Split, asked: EvaluationSettings, found: Bounds, notes: list[str]) -> dict[str, Any]:
    """What is evaluated, both bounds and their parts."""
    _check_bounds(found)
    model, spec = source_of(source).model, asked.spec or spec_of(split.tensors)
    scale = bits_of(source, split, spec, asked.seed, asked.device, notes)
    if any(bool(value.isinf().all()) for value in found.kl.values()):
        notes.append("no bound: a posterior puts all its mass on a point, its divergence from any prior is infinite")
    elif not bool(found.plain.isfinite().all()):
        count = int((~found.plain.isfinite()).sum())
        notes.append(f"the bound of {count:,} examples is -inf: they hold values outside the support of the likelihood")
    return {
        "examples": len(split),
        "samples": asked.samples,
        "seed": asked.seed,
        "device": str(torch.device(asked.device) if asked.device is not None else device_of(model)),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "dimensions": scale.dimensions,
        "levels": spec.levels,
        "discrete": scale.discrete,
        "given": [name for name in getattr(model, "bounded_given", ()) if name not in kept_from(source)],
        **_bound("bound", found.plain, scale),
        **_bound("importance_bound", found.importance, scale),
        "reconstruction": {name: -_mean(value) for name, value in found.heads.items()},
        "kl": _mean(torch.stack(list(found.kl.values())).sum(0)),
    }


def _reconstruction(source: Any, split: Split, asked: EvaluationSettings, notes: list[str]) -> dict[str, Any]:
    """How near the deterministic reconstruction comes, column by column where there are some, and the samples."""
    model, spec = source_of(source).model, asked.spec or spec_of(split.tensors)
    of = model.heads[first_head(model)].of
    x = scored_values(model, split)
    known = asked.train is not None and of in asked.train.tensors
    mine = spec.values.get(of)
    unit = in_unit(mine, x)
    limits = None if unit or not known else limits_of(scored_values(model, asked.train))  # pyright: ignore
    columns = spec.columns if of == "x" else ()
    measures = [lambda x, law: errors(x, law.mean, unit, limits), *([by_column(spec)] if columns else [])]
    measured = reconstructed(source, split, measures, asked.seed, asked.device)
    report: dict[str, Any] = _errors(measured, unit, x.ndim == 4, notes)
    if spec.modalities:
        notes.append(f"mse, psnr, ssim: of {of}, the first modality; `evaluate_modalities` tells of all")
    if mine is not None and "category" in mine.kinds:
        report["mse"] = None
        notes.append(
            f"no squared error: {of} holds categories, whose codes are in no order; see the "
            "'variance that it leaves' and the 'categories that it misses'"
        )
    report.update(told(measured, spec) if columns else {})
    if still := [row["name"] for row in report.get("columns", ()) if row.get("unexplained", 0) is None]:
        notes.append(f"unexplained: none of {some(still)}, which do not vary among the examples ({len(split)})")
    if asked.frechet and not unit:
        notes.append("no Fréchet distance: it is one of pictures in [0, 1]")
    elif asked.frechet:
        judged = asked.classifier, asked.seed, asked.device
        report["frechet"] = frechet_report(source, split, asked.frechet, *judged, notes)
    return report


def _bound(name: str, values: Tensor, scale: Bits) -> dict[str, Any]:
    mean, count = _mean(values), len(values)
    return {
        name: mean,
        f"{name}_error": float(values.std()) / sqrt(count) if count > 1 else None,
        f"{name}_bits": scale.of(mean),
    }


def _tell_information(report: dict[str, Any]) -> None:
    """Puts the estimate of the information, which is cut off where more is known, beside the rest of each latent."""
    for name, latent in report.get("latents", {}).items():
        latent |= {key: report["information"]["latents"][name][key] for key in ("information", "information_bits")}


def _latent(name: str, code: Code, found: Bounds, notes: list[str]) -> dict[str, Any]:
    kl = _mean(found.kl[name])
    if code.kl is None:
        notes.append(f"no KL per dimension of {name}: its posterior or prior has no known marginals")
    words = code.words
    if words is not None:
        notes.append(f"no active units and no moments of {name}: its values are words of a codebook")
    elif code.means.shape[1] > WIDEST:
        notes.append(f"no moments of {name}: a covariance of {code.means.shape[1]:,} dimensions, above {WIDEST}")
    if code.information is None:
        notes.append(f"no mutual information of {name}: its posterior has no density, or reads another latent's draw")
    return {
        "dimensions": code.means.shape[1],
        "kl": kl,
        "kl_source": "analytic" if found.analytic[name] else "sampled",
        "rate_bits": kl / log(2),
        "kl_per_dimension": None if code.kl is None else code.kl.tolist(),
        "kl_per_dimension_source": None if code.kl is None else "analytic" if code.analytic else "sampled",
        "active_units": int(code.active.sum()) if words is None else None,
        "active_above": ACTIVE,
        "activity": code.activity.tolist() if words is None else None,
        "codebook": None if words is None else _codebook(words),
        "information_limit_bits": log2(code.aggregate) if code.aggregate else None,
        "aggregate": _aggregate(code),
    }


def _codebook(words: CodeUse) -> dict[str, Any]:
    return {name: getattr(words, name) for name in ("size", "positions", "perplexity", "usage")}


def _aggregate(code: Code) -> dict[str, Any] | None:
    """Moments of the aggregate posterior, and their distances from the prior's (Euclid, Frobenius)."""
    if code.moments is None:
        return None
    mean, covariance = code.moments
    found: dict[str, Any] = {"mean": mean.tolist(), "variance": covariance.diagonal().tolist()}
    if code.prior_moments is not None:
        prior_mean, prior_covariance = code.prior_moments
        found["mean_distance"] = float((mean - prior_mean).norm())
        found["covariance_distance"] = float((covariance - prior_covariance).norm())
    return found


def _errors(found: dict[str, Tensor], unit: bool, pictures: bool, notes: list[str]) -> dict[str, float | None]:
    if pictures and "psnr" not in found:
        notes.append("no PSNR and SSIM: the values leave [0, 1], and no training part was given to take their range of")
    elif pictures:
        if not unit:
            notes.append("PSNR and SSIM of values beyond [0, 1]: each channel's range in the training part counts as 1")
        if "ssim" not in found:
            notes.append("no SSIM: the pictures are smaller than 6 x 6 pixels")
        elif gaps := int((found["ssim"].isnan() & ~found["psnr"].isnan()).sum()):
            notes.append(
                f"no SSIM: it compares neighbouring pixels, and {gaps:,} of {len(found['ssim']):,} pictures lack some; "
                "evaluate those without gaps on their own for it (MSE and PSNR are of the pixels that are seen)"
            )
            found = {name: value for name, value in found.items() if name != "ssim"}
    return {name: _mean(found[name]) if name in found else None for name in ("mse", "psnr", "ssim")}


def _check_bounds(found: Bounds) -> None:
    """NonFiniteError where a bound is not a number; an infinite one may be right, and is explained in the notes."""
    for name, values in {"plain bound": found.plain, "importance-weighted bound": found.importance}.items():
        if count := int(values.isnan().sum()):
            raise NonFiniteError(
                f"the {name} of {count} of {len(values)} examples is not a number, though every weight is finite: look "
                "at the range of the data, and at weights that have grown too large (a smaller lr, a clip)"
            )


def _mean(values: Tensor) -> float:
    return float(values.double().mean())


def _jsonable(value: Any, name: str, notes: list[str]) -> Any:
    """The same without infinities and NaN, each of which becomes None and a note."""
    if isinstance(value, dict):
        return {key: _jsonable(inner, f"{name}.{key}" if name else key, notes) for key, inner in value.items()}
    if isinstance(value, list):
        return value if value is notes else [_jsonable(inner, name, notes) for inner in value]
    if isinstance(value, float) and not isfinite(value):
        note = f"{name} is {value}"
        if note not in notes:
            notes.append(note)
        return None
    return value
