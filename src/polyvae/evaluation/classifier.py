"""A small classifier of labelled pictures, and what it says of generated ones."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from polyvae.data.split import Split
from polyvae.evaluation.blocks import BLOCK, evaluating, seeded
from polyvae.files import replacing

_VERSION = 1  # of the classifier's layers and training; part of the cache's key


class Classifier(nn.Module):
    """Two convolutions and a layer of 64 features over pictures of any size: what pictures are judged by.

    `forward`: logits [B, classes]; `features`: [B, 64].
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(channels, 16, 5, 2, 2), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(7)
        )
        self.hidden = nn.Linear(32 * 49, 64)
        self.output = nn.Linear(64, classes)

    def features(self, x: Tensor) -> Tensor:
        return F.relu(self.hidden(self.convolutions(x).flatten(1)))

    def forward(self, x: Tensor) -> Tensor:
        return self.output(self.features(x))


def train_classifier(
    split: Split, cache: str | os.PathLike[str] | None = None, seed: int = 0, steps: int = 2000, batch: int = 128
) -> Classifier:
    """A classifier of labelled pictures, trained on a split with Adam, in about half a minute on two cores.

    With a `cache` folder its weights are kept there in safetensors under a key of the data, the seed and the steps, and
    read back the next time. It sees grey values, whatever binarisation the split has. Raises ValueError without
    pictures and integer labels.
    """
    x, y = split.tensors.get("x"), split.tensors.get("y")
    if x is None or y is None or x.ndim != 4 or y.ndim != 1 or y.is_floating_point():
        raise ValueError("a classifier needs pictures x [N, C, H, W] and integer labels y [N]")
    made = Classifier(x.shape[1], int(y.max()) + 1)
    path = None if cache is None else Path(cache) / f"classifier-{_key(x, y, seed, steps, batch)}.safetensors"
    if path is not None and path.exists():
        try:
            made.load_state_dict(load_file(path))
            return made.eval().to(x.device)
        except (SafetensorError, RuntimeError):
            path.unlink()  # half-written or foreign: train anew
    with seeded(x.device, seed):
        made = Classifier(x.shape[1], int(y.max()) + 1).to(x.device)
        _train(made, Split({"x": x, "y": y}), steps, batch)
    if path is not None:
        with replacing(path) as beside:
            save_file({name: value.cpu().contiguous() for name, value in made.state_dict().items()}, beside)
    return made.eval()


def recognisable(classifier: nn.Module, pictures: Tensor, above: float = 0.9) -> float:
    """Share of pictures [N, C, H, W] in [0, 1] whose most probable label the classifier gives more than `above`."""
    if not 0 <= above < 1:
        raise ValueError(f"above is a probability below 1; got {above}")
    sure = 0
    with evaluating(classifier) as device:
        for part in pictures.split(BLOCK):
            sure += int((classifier(grey(part.to(device))).softmax(1).amax(1) > above).sum())
    return sure / len(pictures)


def accuracy(classifier: nn.Module, split: Split) -> float:
    """Share of a split's examples whose label the classifier finds."""
    right = 0
    with evaluating(classifier) as device:
        for index in torch.arange(len(split), device=split.device).split(BLOCK):
            x, y = (split.tensors[name][index].to(device) for name in ("x", "y"))
            right += int((classifier(grey(x)).argmax(1) == y).sum())
    return right / len(split)


def grey(x: Tensor) -> Tensor:
    """Bytes as grey values in [0, 1]."""
    return x.float() / 255 if x.dtype is torch.uint8 else x.float()


def _train(classifier: Classifier, split: Split, steps: int, batch: int) -> None:
    optimiser = torch.optim.Adam(classifier.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=steps)
    for _ in range(steps):
        values = split.batch(torch.randint(len(split), (min(batch, len(split)),), device=split.device))
        optimiser.zero_grad()
        F.cross_entropy(classifier(values["x"]), values["y"]).backward()
        optimiser.step()
        schedule.step()


def _key(x: Tensor, y: Tensor, *settings: int) -> str:
    digest = hashlib.sha256(repr((_VERSION, tuple(x.shape), str(x.dtype), settings)).encode())
    for tensor in (x, y):
        for part in tensor.split(4096):
            digest.update(part.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
