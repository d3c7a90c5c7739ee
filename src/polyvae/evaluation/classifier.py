"""A small classifier of labelled pictures, and what it says of generated ones."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn import functional as F

from polyvae.data.files.sealed import read_sealed, write_sealed
from polyvae.data.split import Split
from polyvae.evaluation.blocks import BLOCK, evaluating, seeded

Unlike = Callable[[Tensor], Tensor]  # pictures [B, C, H, W] in [0, 1] -> as many that show nothing of their classes
_VERSION = 2  # of the classifier's layers and training; part of the cache's key


class Classifier(nn.Module):
    """Two convolutions and a layer of 64 features over pictures of any size: what pictures are judged by.

    `forward`: logits [B, classes], and of one class more, for pictures of no class, where it `rejects`; `features`: [B,
    64].
    """

    def __init__(self, channels: int, classes: int, rejects: bool = False) -> None:
        super().__init__()
        self.classes = classes
        self.rejects = rejects
        self.convolutions = nn.Sequential(
            nn.Conv2d(channels, 16, 5, 2, 2), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(7)
        )
        self.hidden = nn.Linear(32 * 49, 64)
        self.output = nn.Linear(64, classes + rejects)

    def features(self, x: Tensor) -> Tensor:
        return F.relu(self.hidden(self.convolutions(x).flatten(1)))

    def forward(self, x: Tensor) -> Tensor:
        return self.output(self.features(x))


def train_classifier(
    split: Split,
    cache: str | os.PathLike[str] | None = None,
    seed: int = 0,
    steps: int = 2000,
    batch: int = 128,
    rejects: bool = False,
    unlike: Unlike | None = None,
) -> Classifier:
    """A classifier of labelled pictures, trained on a split with Adam, in about half a minute on two cores.

    With a `cache` folder its weights are kept there in safetensors under a key of the data, the seed and the steps, and
    read back the next time. It sees grey values, whatever binarisation the split has. With `rejects` it also learns a
    class of no class, from what `unlike` makes of a batch, by default pictures whose tiles have changed places: a
    classifier that knows nothing else is sure of most pictures that are unlike any (Hein, Andriushchenko, Bitterwolf:
    Why ReLU Networks Yield High-Confidence Predictions Far Away From the Training Data, 2019). Raises ValueError
    without pictures and integer labels.
    """
    x, y = split.tensors.get("x"), split.labels
    if x is None or y is None or x.ndim != 4:
        raise ValueError("a classifier needs pictures x [N, C, H, W] and integer labels y [N]")
    made = Classifier(x.shape[1], int(y.max()) + 1, rejects)
    settings = seed, steps, batch, rejects, *([] if unlike is None else [unlike.__qualname__])
    path = None if cache is None else Path(cache) / f"classifier-{_key(x, y, *settings)}.safetensors"
    if path is not None and path.exists():
        try:
            made.load_state_dict(read_sealed(path)[0])
            return made.eval().to(x.device)
        except (SafetensorError, RuntimeError, ValueError):
            path.unlink(missing_ok=True)  # damaged or foreign: train anew
    with seeded(x.device, seed):
        made = Classifier(x.shape[1], int(y.max()) + 1, rejects).to(x.device)
        _train(made, Split({"x": x, "y": y}), steps, batch, unlike or scrambled)
    if path is not None:
        write_sealed(path, made.state_dict(), {})
    return made.eval()


def recognisable(classifier: nn.Module, pictures: Tensor, above: float = 0.9) -> float:
    """Share of pictures [N, C, H, W] in [0, 1] to which the classifier gives one label with more than `above`.

    Take one that rejects: others are sure of noise, too.
    """
    return float((recognised(classifier, pictures, above) >= 0).double().mean())


def recognised(classifier: nn.Module, pictures: Tensor, above: float = 0.9) -> Tensor:
    """The label that the classifier gives each picture with more than `above`, int64 [N] on the CPU, -1 for none."""
    if not 0 <= above < 1:
        raise ValueError(f"above is a probability below 1; got {above}")
    found = []
    with evaluating(classifier) as device:
        for part in pictures.split(BLOCK):
            labels = classifier(grey(part.to(device))).softmax(1)
            share, label = labels[:, : getattr(classifier, "classes", labels.shape[1])].max(1)
            found.append(torch.where(share > above, label, -1).cpu())
    return torch.cat(found)


def accuracy(classifier: nn.Module, split: Split) -> float:
    """Share of a split's examples whose label the classifier finds."""
    right = 0
    with evaluating(classifier) as device:
        for index in torch.arange(len(split), device=split.device).split(BLOCK):
            x, y = (split.tensors[name][index].to(device) for name in ("x", "y"))
            right += int((classifier(grey(x)).argmax(1) == y).sum())
    return right / len(split)


def scrambled(x: Tensor) -> Tensor:
    """Pictures [B, C, H, W] whose square tiles, about seven a side and at least 2 x 2 pixels, have changed places."""
    height, width = x.shape[2:]
    tile = max(2, min(height, width) // 7)
    padded = F.pad(x, (0, -width % tile, 0, -height % tile))
    tiles = F.unfold(padded, tile, stride=tile)
    order = torch.rand(len(x), tiles.shape[2], device=x.device).argsort(1)[:, None].expand_as(tiles)
    return F.fold(tiles.gather(2, order), padded.shape[2:], tile, stride=tile)[..., :height, :width]


def grey(x: Tensor) -> Tensor:
    """Bytes as grey values in [0, 1]."""
    return x.float() / 255 if x.dtype is torch.uint8 else x.float()


def _train(classifier: Classifier, split: Split, steps: int, batch: int, unlike: Unlike) -> None:
    optimiser = torch.optim.Adam(classifier.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=steps)
    for _ in range(steps):
        values = split.batch(torch.randint(len(split), (min(batch, len(split)),), device=split.device))
        optimiser.zero_grad()
        x, y = values["x"], values["y"]
        if classifier.rejects:
            x, y = torch.cat([x, unlike(x)]), torch.cat([y, torch.full_like(y, classifier.classes)])
        F.cross_entropy(classifier(x), y).backward()
        optimiser.step()
        schedule.step()


def _key(x: Tensor, y: Tensor, *settings: int | str) -> str:
    digest = hashlib.sha256(repr((_VERSION, tuple(x.shape), str(x.dtype), settings)).encode())
    for tensor in (x, y):
        for part in tensor.split(4096):
            digest.update(part.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def moved(x: Tensor, draws: torch.Generator, turn: float = 12.0, shift: float = 2.0) -> Tensor:
    """Pictures [B, C, H, W] turned by up to `turn` degrees and shifted by up to `shift` pixels, at random."""
    angle, across, down = 2 * torch.rand(3, len(x), generator=draws) - 1
    angle = angle * turn * torch.pi / 180
    across, down = 2 * across * shift / x.shape[3], 2 * down * shift / x.shape[2]  # a side is 2 in grid's units
    rows = [torch.stack([angle.cos(), -angle.sin(), across], 1), torch.stack([angle.sin(), angle.cos(), down], 1)]
    grid = F.affine_grid(torch.stack(rows, 1), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, align_corners=False)
