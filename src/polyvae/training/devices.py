"""Where training runs: the Fabric of device, precision and processes, refused where this machine has no such thing."""

from __future__ import annotations

from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.precision import MixedPrecision

from polyvae.training.cpu import processors
from polyvae.training.settings import PRECISIONS, Settings


def fabric_of(settings: Settings) -> Fabric:
    """The Fabric of these settings. Raises ValueError as `kind_of`."""
    kind = kind_of(settings)
    precision, mixed = PRECISIONS[settings.precision], settings.precision != "fp32"
    given: dict[str, Any] = {"plugins": [_Mixed(precision, kind)]} if mixed else {"precision": precision}
    strategy = "ddp_spawn" if settings.devices > 1 else "auto"
    return Fabric(accelerator=settings.device, devices=settings.devices, strategy=strategy, **given)


def kind_of(settings: Settings) -> str:
    """cpu, cuda or mps. Raises ValueError for a device, a precision or a number of processes that is not there."""
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "auto": True}
    if not available[settings.device]:
        raise ValueError(
            f"this machine has no {settings.device} device; take {' or '.join(n for n in available if available[n])}"
        )
    if settings.precision == "fp16" and not any(
        available[n] for n in ("cuda", "mps") if settings.device in (n, "auto")
    ):
        raise ValueError("fp16 needs a GPU; on a CPU take bf16 or fp32")
    usual = next(name for name in ("mps", "cuda", "cpu") if available[name])
    kind = usual if settings.device == "auto" else settings.device
    count = {"cpu": processors, "cuda": torch.cuda.device_count, "mps": lambda: 1}[kind]()
    if settings.devices > count:
        what = "processor" if kind == "cpu" else f"{kind} device"
        raise ValueError(
            f"devices is a number of processes, at most one for each {what}: this machine has {count}, got "
            f"{settings.devices}"
        )
    return kind


class _Mixed(MixedPrecision):
    """Half precision where autocast chooses it; a batch stays as it is.

    Rounded to eight bits, grey values and codes would be others, and every density would be that of other data.
    """

    def convert_input(self, data: Any) -> Any:
        return data
