"""Fréchet distance between samples and real pictures, in the features of a classifier."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from polyvae.data.cuts import shuffled
from polyvae.data.split import Split
from polyvae.evaluation.blocks import BLOCK, Blocks, evaluating, source_of
from polyvae.evaluation.classifier import accuracy, grey
from polyvae.evaluation.pictures import first_head
from polyvae.model.vae import VAE

INCEPTION = "weights-inception-2015-12-05-6726825d.pth"


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """Squared Fréchet distance between normals fitted to two sets of features [N, d] and [M, d].

    |m_a - m_b|^2 + tr(S_a + S_b - 2 (S_a^(1/2) S_b S_a^(1/2))^(1/2)), in float64, the roots by eigenvalues. With
    finite N it is biased upwards, the more the smaller N: compare only distances at equal N and M. Raises ValueError
    below 2 rows.

    Heusel, Ramsauer, Unterthiner, Nessler, Hochreiter: GANs Trained by a Two Time-Scale Update Rule Converge to a Local
    Nash Equilibrium, 2017; the bias: Chong, Forsyth: Effectively Unbiased FID and Inception Score, 2020.
    """
    if min(len(a), len(b)) < 2:
        raise ValueError(f"a covariance needs at least 2 rows; got {len(a)} and {len(b)}")
    a, b = (value.detach().cpu().double() for value in (a, b))
    first, second = (torch.cov(value.T).reshape(value.shape[1], -1) for value in (a, b))
    values, vectors = torch.linalg.eigh(first)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    cross = torch.linalg.eigvalsh(root @ second @ root).clamp(min=0).sqrt().sum()
    return float((a.mean(0) - b.mean(0)).square().sum() + first.trace() + second.trace() - 2 * cross)


def sampled_pictures(source: Any, split: Split, count: int, seed: int = 0) -> Tensor:
    """Means of the likelihood at `count` draws from the prior, clamped to [0, 1], [count, C, H, W].

    A conditional model is given what the split's examples hold, in a seeded order, over again if need be. Raises
    ValueError below one picture.
    """
    if count < 1:
        raise ValueError(f"count is the number of pictures, at least 1; got {count}")
    model, observe = source_of(source, "generate", "heads", what="a picture of its samples")
    name = first_head(model)
    with evaluating(model) as device:
        split, order = split.to(device), shuffled(len(split), seed).to(device)

        def made(block: slice) -> Tensor:
            index = order[torch.arange(block.start, block.stop, device=device) % len(split)]
            return _generate(model, observe, split, index)[name].mean.clamp(0, 1)

        # A stream of its own: the noise of the samples is not that of the examples in the block of their number.
        return torch.cat(Blocks(stream=(1,)).each(count, made, device, seed))


def frechet_report(
    source: Any,
    split: Split,
    count: int,
    classifier: nn.Module | None,
    seed: int,
    device: torch.device | str | None,
    notes: list[str],
) -> dict[str, Any]:
    """Distance of `count` samples to as many real pictures, and beside it what real pictures would have.

    "halves" compares two disjoint sets of n real pictures, `real`, and n samples with the first of them, `distance`:
    both at the same n, at most `count` and half of the real pictures at hand, since the bias depends on it.
    """
    model, _ = source_of(source)
    x = split.tensors.get("x")
    if x is None or x.ndim != 4:
        raise ValueError("a Fréchet distance needs pictures x [N, C, H, W]")
    if not count >= 2:
        raise ValueError(f"a Fréchet distance needs at least 2 samples; got {count}")
    # In a seeded order: a data set may be sorted by its labels.
    order = shuffled(len(x), seed)[: 2 * count].to(x.device)
    pictures, half = grey(x[order].cpu()), min(count, len(order) // 2)
    real = pictures[:count]
    with evaluating(model, device):
        made = sampled_pictures(source, split, count, seed).cpu()
    found: dict[str, Any] = {
        "count": count,
        "real_count": len(real),
        "distance": None,
        "halves": None,
        "accuracy": None,
    }
    if classifier is None:
        notes.append("no Fréchet distance in a classifier's features: no classifier was given")
    else:
        features, ours = classifier_features(classifier, pictures), classifier_features(classifier, made)
        found["distance"] = frechet_distance(ours, features[:count])
        if half >= 2:
            first, second = features[:half], features[half : 2 * half]
            between = {"real": frechet_distance(first, second), "distance": frechet_distance(ours[:half], first)}
            found["halves"] = {"count": half, **between}
        if "y" in split.tensors:
            found["accuracy"] = accuracy(classifier, split)
        notes.append("Fréchet distances are biased upwards, the more the fewer the pictures: compare at equal counts")
    found["inception"] = inception_distance(real, made, notes)
    return found


def inception_distance(real: Tensor, made: Tensor, notes: list[str], weights: Path | None = None) -> float | None:
    """torchmetrics' FID of pictures in [0, 1]; None with a note where its Inception weights are not on this machine."""
    weights = weights or Path(torch.hub.get_dir()) / "checkpoints" / INCEPTION
    if find_spec("torch_fidelity") is None or not weights.exists():
        notes.append(f"no FID: weights not present ({INCEPTION} in torch's hub folder, and the package torch-fidelity)")
        return None
    from torchmetrics.image.fid import FrechetInceptionDistance

    metric = FrechetInceptionDistance(feature_extractor_weights_path=str(weights))
    for pictures, is_real in ((real, True), (made, False)):
        for part in pictures.split(BLOCK):
            # Rounded here: the metric's own option to take [0, 1] multiplies by 255 and drops the rest.
            levels = (part.clamp(0, 1) * 255).round().to(torch.uint8)
            metric.update(levels.expand(-1, 3, -1, -1) if levels.shape[1] == 1 else levels, real=is_real)
    return float(metric.compute())


def _generate(model: VAE, observe: Any, split: Split, index: Tensor) -> Any:
    if not model.conditions:
        return model.generate(count=len(index))
    batch = observe(split.batch(index))
    return model.generate({name: batch[name] for name in model.conditions})


def classifier_features(classifier: nn.Module, pictures: Tensor) -> Tensor:
    """What a classifier sees in pictures [N, C, H, W], [N, d] on the CPU; the logits where it has no `features`."""
    read = getattr(classifier, "features", classifier)
    with evaluating(classifier) as device:
        return torch.cat([read(part.to(device)).flatten(1).cpu() for part in pictures.split(BLOCK)])
