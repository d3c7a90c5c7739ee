"""Walks through a latent that is a map of codes: one place, word by word."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from polyvae.evaluation.codes import CodeUse
from polyvae.model.vae import VAE, Values


def walks(
    model: VAE, values: Values, name: str, words: CodeUse, rows: int, steps: int
) -> tuple[dict[str, Tensor], tuple[str, ...], np.ndarray]:
    """What to decode so that each of the `rows` places of most entropy takes each of the `steps` words most used there.

    `values` hold one example, whose codes stand everywhere else. Returns the values [R * S, ...], the rows' names and
    the words' codes [S].
    """
    laws = model.encode(values)
    codes = laws[name].codes  # pyright: ignore[reportAttributeAccessIssue]
    held = {**values, **{key: law.mean for key, law in laws.items()}}
    share = words.counts.double() / words.counts.sum(1, keepdim=True)
    entropy = -torch.xlogy(share, share).sum(1)
    places = entropy.argsort(descending=True, stable=True)[:rows].tolist()
    used = words.counts[places].sum(0).argsort(descending=True, stable=True)[:steps]
    moved = codes.flatten(1).repeat(len(places) * len(used), 1)
    for row, place in enumerate(places):
        moved[row * len(used) : (row + 1) * len(used), place] = used.to(moved.device)
    fixed = {key: value.expand(len(moved), *value.shape[1:]) for key, value in held.items()}
    fixed[name] = model.posterior[name].embed(moved.view(-1, *codes.shape[1:]))  # pyright: ignore[reportCallIssue]
    shape = tuple(codes.shape[1:])
    labels = tuple(f"{name}[{_place(place, shape)}]  entropy {float(entropy[place]):.2f}" for place in places)
    return fixed, labels, used.numpy()


def _place(place: int, shape: tuple[int, ...]) -> str:
    return ", ".join(str(int(index)) for index in np.unravel_index(place, shape))
