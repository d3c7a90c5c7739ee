"""Everything that is known of a model on a split, as one dict that JSON can hold."""

from __future__ import annotations

from math import isfinite, log, log2, sqrt
from typing import Any

import torch
from torch import Tensor, nn

from polyvae.checks.finite import NonFiniteError
from polyvae.data.columns.kinds import some
from polyvae.data.exchange.codes import retold
from polyvae.data.exchange.given import taken
from polyvae.data.readers.arrays import spec_of
from polyvae.data.split import Data, Split
from polyvae.evaluation.bits import Bits, bits_of
from polyvae.evaluation.blocks import Progress, device_of, source_of
from polyvae.evaluation.bounds import Bounds, both_bounds
from polyvae.evaluation.codes import ACTIVE, Code, CodeUse, describe_codes
from polyvae.evaluation.columns import by_column, told
from polyvae.evaluation.frechet import frechet_report
from polyvae.evaluation.pictures import errors, first_head, in_unit, limits_of, reconstructed, recorded_spec
from polyvae.model.spec import Spec
from polyvae.model.weights import check_weights


def evaluate(
    source: Any,
    data: Any,
    *,
    samples: int = 5000,
    seed: int = 0,
    device: torch.device | str | None = None,
    spec: Spec | None = None,
    frechet: int = 0,
    classifier: nn.Module | None = None,
    train: Split | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """A report on a recipe (or run, or bare model) over data, in numbers, text, lists and dicts.

    `data`: a Split, or what `fit` takes; of Data the test part, or the validation part where none was cut.

    bound, importance_bound: on log p(x) in nats per example, or on log p(x | given) where `given` names what priors and
    heads read (bounds given m compare only at the same masks); `*_error`, their standard error over the examples,
    `*_bits`, bits per dimension; discrete: whether they are of probabilities, or of densities, None of both.
    reconstruction: -E log p(x | z) of each head in nats; kl: of all latents in nats.
    latents: for each one its kl, rate in bits, active units, information I(x; z), aggregate posterior, and of a
    codebook its size, positions, perplexity and share of words used. mse, psnr (dB), ssim: of the deterministic
    reconstruction; pictures in [0, 1] are clamped to it, other values are not, and have PSNR and SSIM on the scale on
    which each channel of the training part, `train` or that of Data, becomes [0, 1]; tables with
    categories, whose codes are in no order, have no mse. unexplained, wrong, columns: of tables and fields, see
    `column_errors`. frechet: with so many samples in the features of `classifier` (see `train_classifier`), 0 for none.
    Whatever is None or approximate is explained in notes.

    Raises NonFiniteError, by name, where a weight is not finite or a bound is not a number.

    `samples` K serves both bounds; `spec` is the recipe's own by default. No training weight enters, the model's mode
    and torch's generators are left as they were, and nothing depends on a batch size.
    """
    spec = spec or recorded_spec(source)
    data = retold(data, spec) if isinstance(data, Data) else data
    split = taken(data, spec)
    spec = spec or spec_of(split.tensors)
    train = data.train if train is None and isinstance(data, Data) else train
    model, _ = source_of(source)
    check_weights(model)
    notes: list[str] = []
    found = both_bounds(source, split, samples, seed, device, progress)
    _check_bounds(found)
    scale = bits_of(source, split, spec, seed, device, notes)
    report: dict[str, Any] = {
        "examples": len(split),
        "samples": samples,
        "seed": seed,
        "device": str(torch.device(device) if device is not None else device_of(model)),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "dimensions": scale.dimensions,
        "levels": spec.levels,
        "discrete": scale.discrete,
        "given": list(model.bounded_given),
        **_bound("bound", found.plain, scale),
        **_bound("importance_bound", found.importance, scale),
        "reconstruction": {name: -_mean(value) for name, value in found.heads.items()},
        "kl": _mean(torch.stack(list(found.kl.values())).sum(0)),
    }
    if any(bool(value.isinf().all()) for value in found.kl.values()):
        notes.append("no bound: a posterior puts all its mass on a point, its divergence from any prior is infinite")
    elif not bool(found.plain.isfinite().all()):
        count = int((~found.plain.isfinite()).sum())
        notes.append(f"the bound of {count:,} examples is -inf: they hold values outside the support of the likelihood")
    described = describe_codes(source, split, seed, device)
    report["latents"] = {name: _latent(name, code, found, notes) for name, code in described.items()}
    of = model.heads[first_head(model)].of
    unit = in_unit(spec if of == "x" else None, split.tensors[of])  # pyright: ignore
    limits = None if unit or train is None or of not in train.tensors else limits_of(train.tensors[of])  # pyright: ignore
    columns = spec.columns if of == "x" else ()
    measures = [lambda x, law: errors(x, law.mean, unit, limits), *([by_column(spec)] if columns else [])]
    measured = reconstructed(source, split, measures, seed, device)
    report.update(_errors(measured, unit, split.tensors[of].ndim == 4, notes))  # pyright: ignore
    if of == "x" and "category" in spec.kinds:
        report["mse"] = None
        notes.append(
            "no squared error: x holds categories, whose codes are in no order; see the "
            "'variance that it leaves' and the 'categories that it misses'"
        )
    report.update(told(measured, spec) if columns else {})
    if still := [row["name"] for row in report.get("columns", ()) if row.get("unexplained", 0) is None]:
        notes.append(f"unexplained: none of {some(still)}, which do not vary among the examples ({len(split)})")
    if frechet and not unit:
        notes.append("no Fréchet distance: it is one of pictures in [0, 1]")
    elif frechet:
        report["frechet"] = frechet_report(source, split, frechet, classifier, seed, device, notes)
    report["notes"] = notes
    return _jsonable(report, "", notes)


def _bound(name: str, values: Tensor, scale: Bits) -> dict[str, Any]:
    mean, count = _mean(values), len(values)
    return {
        name: mean,
        f"{name}_error": float(values.std()) / sqrt(count) if count > 1 else None,
        f"{name}_bits": scale.of(mean),
    }


def _latent(name: str, code: Code, found: Bounds, notes: list[str]) -> dict[str, Any]:
    kl = _mean(found.kl[name])
    if code.kl is None:
        notes.append(f"no KL per dimension of {name}: its posterior or prior has no known marginals")
    words = code.words
    if words is not None:
        notes.append(f"no active units and no moments of {name}: its values are words of a codebook")
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
        "information": code.information,
        "information_bits": None if code.information is None else code.information / log(2),
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
