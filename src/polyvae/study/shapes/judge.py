"""Who says whether a picture shows a shape: a classifier of clean shapes, and how far it is to be trusted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from polyvae.data.files.writing import held, write_text
from polyvae.data.sources.shapes import KINDS, shapes
from polyvae.data.split import Split
from polyvae.evaluation.blocks import seeded
from polyvae.evaluation.classifier import Classifier, grey, recognised, scrambled, train_classifier

JUDGE = "judge.json"
TRAINED, STEPS, CHECKED = 30_000, 1500, 3000
SURE = 0.5  # what a label is given at least: more than all that speaks against it
NEVER = "never seen: "  # in front of kinds of pictures that are no part of the judge's training
BLURS = (0.75, 1.5)  # deviations in pixels
# Seeds of pictures that no training sees: the judge's, those that it is checked on, those that are reconstructed.
OWN, CHECK, TEST = 101, 102, 103
Shares = Mapping[str, float]


def pictures(count: int, size: int, seed: int) -> Split:
    """New clean shapes with their labels."""
    x, y, _ = shapes(count, size, seed)
    return Split({"x": torch.from_numpy(x), "y": torch.from_numpy(y)})


def judge(study: Path, size: int) -> Classifier:
    """The classifier of a study, trained once by whoever comes first; what it says of known pictures is in judge.json.

    It knows three shapes and, as no shape, tiles that have changed places, blends of two pictures and what is washed
    out; of all it sees two in three under blurs of up to 1.5 pixels, or it would judge how sharp a picture is.
    """
    with held(study / ".judge.lock"), torch.inference_mode(False), torch.enable_grad():
        made = train_classifier(softened(size), study / "classifier", 0, STEPS, rejects=True, unlike=unlike)
        if not (study / JUDGE).exists():
            write_text(study / JUDGE, json.dumps(trusted(made, size), indent=2) + "\n")
    return made


def softened(size: int) -> Split:
    """The judge's pictures, a third of them as they are, a third blurred by 0.75 pixels, a third by 1.5."""
    made = pictures(TRAINED, size, OWN)
    sharp, *soft = grey(made.tensors["x"]).chunk(1 + len(BLURS))
    x = torch.cat([sharp, *(blurred(each, width) for each, width in zip(soft, BLURS, strict=True))])
    return Split({"x": x, "y": made.tensors["y"]})


def unlike(x: Tensor) -> Tensor:
    """Pictures of no one shape: a third of them scrambled, a third blends, a third washed out to nothing."""
    made = zip((scrambled, blended, washed), x.tensor_split(3), strict=True)
    return torch.cat([make(part) for make, part in made])


def blended(x: Tensor) -> Tensor:
    """Each picture [B, C, H, W] laid over the next, with weights between 0.4 and 0.6."""
    share = 0.4 + 0.2 * torch.rand(len(x), 1, 1, 1, device=x.device)
    return share * x + (1 - share) * x.roll(1, 0)


def washed(x: Tensor) -> Tensor:
    """Pictures [B, C, H, W] blurred by 4 pixels and fainter than they were, down to empty ones."""
    return torch.rand(len(x), 1, 1, 1, device=x.device) * blurred(x, 4.0)


def blurred(x: Tensor, deviation: float) -> Tensor:
    """Pictures [B, C, H, W] under a normal kernel of so many pixels."""
    reach = int(3 * deviation + 1)
    along = torch.arange(-reach, reach + 1, dtype=x.dtype)
    weights = torch.exp(-0.5 * (along / deviation).square())
    weights = (weights / weights.sum()).expand(x.shape[1], 1, 1, -1)
    across = F.conv2d(x, weights, padding=(0, reach), groups=x.shape[1])
    return F.conv2d(across, weights.transpose(2, 3), padding=(reach, 0), groups=x.shape[1])


def broken(x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """Pictures of no one whole shape that no training of a judge sees, made of shapes [B, C, H, W], by their kind."""
    behind = x.flatten(1).median(1).values.view(-1, 1, 1, 1)
    across, down = torch.linspace(-1, 1, x.shape[3]), torch.linspace(-1, 1, x.shape[2])[:, None]
    shape = (x - behind).abs()
    middle = (shape * down).sum((1, 2, 3), keepdim=True) / shape.sum((1, 2, 3), keepdim=True)
    width = 0.15 + 0.35 * torch.rand(len(x), 1, 1, 1)
    blobs = torch.exp(-(across.square() + down.square()) / (2 * width.square()))
    return {
        "half circles": torch.where(down > middle, behind, x)[y == KINDS.index("circle")],
        "two shapes in one picture": torch.maximum(x, x.roll(1, 0)),
        "shapes with half of their pixels off": torch.where(torch.rand_like(x) < 0.5, behind, x),
        "blobs without an edge": behind + (1 - behind) * blobs.expand_as(x),
    }


def trusted(classifier: Classifier, size: int) -> Shares:
    """Shares of known pictures that the judge takes for a shape, and "right" for the shape that they are."""
    clean = pictures(CHECKED, size, CHECK)
    with seeded(torch.device("cpu"), CHECK):
        x, y = grey(clean.tensors["x"]), clean.tensors["y"]
        shown = {"clean shapes": x}
        shown |= {f"shapes blurred by {width} pixels": blurred(x, width) for width in (1, 1.5, 2.5)}
        shown["blends of two shapes"] = blended(x)
        shown["shapes whose tiles have changed places"] = scrambled(x)
        shown["uniform noise"] = torch.rand_like(x)
        shown["the mean picture under noise"] = (x.mean(0) + 0.02 * torch.randn_like(x)).clamp(0, 1)
        shown["empty pictures under noise"] = (0.02 * torch.randn_like(x)).clamp(0, 1)
        shown |= {f"{NEVER}{name}": made for name, made in broken(x, y).items()}
    found = {name: recognised(classifier, each, SURE) for name, each in shown.items()}
    shares = {name: float((labels >= 0).double().mean()) for name, labels in found.items()}
    right: dict[str, float] = {f"{name}, right": float((found[name] == y).double().mean()) for name in [*shown][:4]}
    return {**shares, **right}
