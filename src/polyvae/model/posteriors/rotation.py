"""The rotation trick: another gradient through a quantiser than that of the identity."""

from __future__ import annotations

import torch
from torch import Tensor

_SMALL = 1e-12  # of a length: the gradient at zero, which has no direction, is then finite


def rotated(encoded: Tensor, vectors: Tensor) -> Tensor:
    """The vectors c [B, D, *rest], to the last bit, as the fixed map of e, `encoded`, that turns and stretches it to c.

    c = s R e,  s = |c| / |e|,  R = 1 - 2 r r' + 2 c^ e^',  r = (e^ + c^) / |e^ + c^|

    with s and R held constant, e^ and c^ the unit vectors along dimension 1: the gradient that reaches the encoder is
    s R' g, at the same angle to e as g has to c. No gradient goes to the vectors.

    Fifty, Junkins, Duan, Iyengar, Liu, Amid, Thrun, Re: Restructuring Vector Quantization with the Rotation Trick,
    2024.
    """
    fixed, words = encoded.detach(), vectors.detach()
    e, c = _unit(fixed), _unit(words)
    r = _unit(e + c)
    scale = _length(words) / _length(fixed)
    turned = scale * (encoded - 2 * r * _dot(r, encoded) + 2 * c * _dot(e, encoded))
    return words + (turned - turned.detach())


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(1, keepdim=True)


def _length(rows: Tensor) -> Tensor:
    return torch.linalg.vector_norm(rows, dim=1, keepdim=True).clamp(min=_SMALL)


def _unit(rows: Tensor) -> Tensor:
    return rows / _length(rows)
