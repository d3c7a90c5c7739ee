"""Generalised zero-shot learning: classes of which only attributes were seen, told from those of which examples were.

A conditional model makes features of the unseen classes from their attributes; a classifier is trained on them beside
real features of the seen ones, and judged on both.

Xian, Lampert, Schiele, Akata: Zero-Shot Learning: A Comprehensive Evaluation of the Good, the Bad and the Ugly, 2019.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from polyvae.checks.ranges import at_least
from polyvae.evaluation.blocks import Blocks, evaluating, source_of
from polyvae.evaluation.pictures import first_head


def generalised(found: Tensor, y: Tensor, unseen: Iterable[int]) -> dict[str, float]:
    """Accuracies of labels `found` [N] for true ones y [N], among all classes: "seen", "unseen", "harmonic".

    Each is the mean over its classes of the share found right, whatever the sizes of the classes; "harmonic" is
    2 s u / (s + u), which is high where both are. Raises ValueError where y holds no seen or no unseen class.
    """
    classes, chosen = y.unique().tolist(), set(unseen)
    right = {k: float((found[y == k] == k).double().mean()) for k in classes}
    groups = {"seen": [k for k in classes if k not in chosen], "unseen": [k for k in classes if k in chosen]}
    if empty := [name for name, held in groups.items() if not held]:
        raise ValueError(f"y holds no {empty[0]} class; its classes are {classes}, unseen are {sorted(chosen)}")
    seen, other = (sum(right[k] for k in held) / len(held) for held in groups.values())
    return {"seen": seen, "unseen": other, "harmonic": 2 * seen * other / (seen + other) if seen + other else 0.0}


def made_features(source: Any, attributes: Tensor, count: int, seed: int = 0, noise: bool = True) -> Tensor:
    """`count` draws of x for each row of the attributes [C, A], [C, count, *x]: sampled, or without `noise` its means.

    `source`: a run, a recipe or a model whose prior and likelihood read y alone. Draws follow from the seed. Raises
    ValueError below one draw.
    """
    at_least("count", count, 1, "draws for each class")
    model, _ = source_of(source, "generate", "heads", what="features of a class")
    name, rows = first_head(model), attributes.repeat_interleave(count, 0)
    with evaluating(model) as device:

        def made(block: slice) -> Tensor:
            law = model.generate({"y": rows[block].to(device)})[name]
            return law.sample() if noise else law.mean

        return torch.cat(Blocks(stream=(3,)).each(len(rows), made, device, seed)).unflatten(0, (-1, count))


def softmax_regression(x: Tensor, y: Tensor, classes: int, decay: float = 1e-3, steps: int = 100) -> nn.Module:
    """A linear classifier of features [N, d] among so many classes, fitted by L-BFGS to standardised features.

    It minimises the mean of -log p(y | x), each class counting alike, plus `decay` / 2 times the squared weights, and
    is what stands for 'train a classifier on it' in a comparison: convex, so that nothing hangs on a seed.
    """
    centre, scale = x.mean(0), x.std(0).clamp(min=1e-6)
    linear = nn.Linear(x.shape[1], classes, dtype=x.dtype, device=x.device)
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    each = torch.bincount(y, minlength=classes).clamp(min=1).to(x)[y].reciprocal()
    each = each / each.sum()
    standard = (x - centre) / scale
    optimiser = torch.optim.LBFGS(linear.parameters(), max_iter=steps, line_search_fn="strong_wolfe")

    def cost() -> Tensor:
        optimiser.zero_grad()
        value = (each * F.cross_entropy(linear(standard), y, reduction="none")).sum()
        value = value + 0.5 * decay * linear.weight.square().sum()
        value.backward()
        return value

    optimiser.step(cost)  # pyright: ignore[reportArgumentType]
    with torch.no_grad():
        linear.weight.div_(scale)
        linear.bias.sub_(linear.weight @ centre)
    return linear.requires_grad_(False)
