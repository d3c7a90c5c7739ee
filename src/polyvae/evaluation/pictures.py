"""How near the deterministic reconstruction comes: squared error, PSNR and SSIM."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from polyvae.data.split import Split
from polyvae.evaluation.blocks import each_block, joined, source_of
from polyvae.model.spec import Spec
from polyvae.model.vae import VAE, Values

SMALLEST = 6  # pixels a side: below, the window of Wang et al. cannot be mirrored at the edges
Measure = Callable[[Tensor, Distribution], dict[str, Tensor]]  # of x and the law it is read off, [N, ...] by name
Limits = tuple[Tensor, Tensor]  # the smallest and the largest value of each channel, [C] each


def reconstruction_errors(
    source: Any,
    split: Split,
    seed: int = 0,
    device: torch.device | str | None = None,
    *,
    unit: bool | None = None,
    limits: Limits | None = None,
) -> dict[str, Tensor]:
    """Errors of the mean of p(x | z) at the posterior mean against x, for every example that is scored, float64 [N].

    "mse": mean squared error over the values of an example. For pictures also "psnr" in decibels, infinite where the
    error is zero, and, from 6 x 6 pixels on, "ssim"; see `errors` for `unit` and `limits`. `unit` is what the recipe
    or else the split says of the values (see `in_unit`) where it is None.
    """
    model = _reconstructing(source)
    of = model.heads[first_head(model)].of
    if unit is None:
        unit = in_unit(recorded_spec(source) if of == "x" else None, scored_values(model, split))

    def measure(x: Tensor, law: Distribution) -> dict[str, Tensor]:
        return errors(x, law.mean, unit, limits)

    return {key: value.double() for key, value in reconstructed(source, split, [measure], seed, device).items()}


def reconstructed(
    source: Any, split: Split, measures: Sequence[Measure], seed: int = 0, device: torch.device | str | None = None
) -> dict[str, Tensor]:
    """What each measure says of x and p(x | z) at the posterior mean, which is computed once, [N, ...].

    N examples, those that the head scores. Of a head that scores values x is not a number where it does not.
    """
    _reconstructing(source)

    def measure(model: VAE, batch: Values) -> dict[str, Tensor]:
        name = first_head(model)
        x, law = batch[str(model.heads[name].of)], model.reconstruct(batch)[name]
        where = model.heads[name].where
        scored = None if where is None else batch[str(where)].bool()
        if scored is not None and scored.ndim > 1:
            x, scored = x.masked_fill(~scored, torch.nan), scored.flatten(1).any(1)
        found = {key: value for each in measures for key, value in each(x, law).items()}
        return found if scored is None else {key: value[scored] for key, value in found.items()}

    return joined(each_block(source, split, measure, seed, device))


def _reconstructing(source: Any) -> Any:
    return source_of(source, "heads", "reconstruct", what="an error of the reconstruction").model


def errors(x: Tensor, reconstruction: Tensor, unit: bool, limits: Limits | None = None) -> dict[str, Tensor]:
    """ "mse" of every example, and for pictures [N, C, H, W] "psnr" and "ssim", [N] each.

    `unit`: whether the values lie in [0, 1] by what they are; then both sides are clamped to it. Others are compared as
    they are, and their PSNR and SSIM need a scale: that on which `limits` of each channel become 0 and 1. Without
    `limits` they have none.

    PSNR = -10 log10 mse. SSIM: Wang, Bovik, Sheikh, Simoncelli: Image Quality Assessment: From Error Visibility to
    Structural Similarity, 2004, Gaussian window of 11 x 11 pixels, mirrored at the edges.
    """
    if unit:
        x, reconstruction = x.clamp(0, 1), reconstruction.clamp(0, 1)
    found = {"mse": _squared(x, reconstruction)}
    if x.ndim != 4 or not (unit or limits):
        return found
    if not unit and limits is not None:
        low, high = (side.to(x).view(-1, 1, 1) for side in limits)
        span = torch.where(high > low, high - low, 1.0)
        x, reconstruction = (x - low) / span, (reconstruction - low) / span
    found["psnr"] = -10 * _squared(x, reconstruction).log10()
    if min(x.shape[-2:]) >= SMALLEST:
        from torchmetrics.functional.image import structural_similarity_index_measure

        similarity = structural_similarity_index_measure(reconstruction, x, reduction="none", data_range=1.0)
        found["ssim"] = torch.as_tensor(similarity).reshape(len(x))
    return found


def _squared(x: Tensor, reconstruction: Tensor) -> Tensor:
    return mean_known((x - reconstruction).square().flatten(1), x.flatten(1), 1)


def mean_known(values: Tensor, x: Tensor, dim: int) -> Tensor:
    """The mean over one dimension of values in the shape of x, of those where x is a number."""
    known = ~x.isnan()
    if bool(known.all()):
        return values.mean(dim)
    return torch.where(known, values, 0.0).sum(dim) / known.sum(dim)


def scored_values(model: VAE, split: Split) -> Tensor:
    """The values that pictures are compared with: those of the rows that their head scores."""
    head = model.heads[first_head(model)]
    x, where = split.tensors[str(head.of)], split.tensors.get(str(head.where))
    return x if where is None or where.ndim > 1 else x[where]


def in_unit(spec: Spec | None, x: Tensor) -> bool:
    """Whether values lie in [0, 1] by what they are: as the kinds of a spec say, else as all of x [N, ...] do."""
    if spec is not None and spec.columns:
        return spec.unit
    return x.dtype is torch.uint8 or all(bool(((part >= 0) & (part <= 1)).all()) for part in x.split(4096))


def limits_of(x: Tensor) -> Limits:
    """The smallest and the largest value of each channel of x [N, C, ...], as floats; bytes count as k / 255."""
    parts = [part.transpose(0, 1).flatten(1) for part in x.split(4096)]  # a mapped file is read piece by piece
    low, high = torch.stack([p.amin(1) for p in parts]).amin(0), torch.stack([p.amax(1) for p in parts]).amax(0)
    return (low / 255, high / 255) if x.dtype is torch.uint8 else (low.float(), high.float())


def recorded_spec(source: Any) -> Spec | None:
    """The spec that a recipe was built for or a run trained on; None where none is recorded."""
    if isinstance(found := getattr(source, "spec", None), Spec):
        return found
    record = (getattr(getattr(source, "recipe", source), "call", None) or {}).get("spec")
    return None if record is None else Spec.from_dict(record)


def first_head(model: VAE) -> str:
    """The head that a picture is made of: the one of "x", else the first."""
    return next((name for name, head in model.heads.items() if head.of == "x"), next(iter(model.heads)))
