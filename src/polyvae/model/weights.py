"""The weights of a model are finite, or it is refused."""

from __future__ import annotations

from torch import nn

from polyvae.checks.finite import NonFiniteError


def check_weights(module: nn.Module, whose: str = "the model") -> None:
    """NonFiniteError where a parameter or a buffer is infinite or not a number; it names the first three of them."""
    tensors = [*module.named_parameters(), *module.named_buffers()]
    bad = [name for name, tensor in tensors if tensor.is_floating_point() and not bool(tensor.isfinite().all())]
    if bad:
        more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
        raise NonFiniteError(
            f"{whose}: the weights {', '.join(bad[:3])}{more} are not finite, so nothing can be computed with them; "
            "train again, with a smaller lr or a clip"
        )
