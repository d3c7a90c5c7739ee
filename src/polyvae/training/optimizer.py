"""What moves the weights: AdamW, or any optimiser that a user's factory makes of the parameters."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from polyvae.training.groups import Declared, clips, described, groups_of
from polyvae.training.hooks import Factory
from polyvae.training.settings import Settings
from polyvae.training.store import RunError

USUAL = {"name": "AdamW"}  # its numbers are settings


def build(factory: Factory | None, groups: Sequence[Declared], settings: Settings) -> Optimizer:
    """The optimiser of the trainable parameters, group by group.

    Without a `factory` AdamW with the settings' lr and weight decay; of a class one with the settings' lr; else what
    the factory returns of a list of parameters, or of groups of them where a module declares its own. Raises
    ValueError where that is no optimiser, leaves out a parameter, joins groups or needs the loss again.
    """
    handed = _handed(groups)
    if factory is None:
        # A fused step unscales fp16 gradients by itself, which leaves nothing to clip in between.
        fused = not (settings.precision == "fp16" and clips(groups, settings.clip))
        made = torch.optim.AdamW(handed, settings.lr, weight_decay=settings.weight_decay, fused=fused)
    else:
        made = _made(factory, handed, settings)
        _check_made(made, groups)
    scales = {parameter: each.group.lr_scale for each in groups for parameter in each.parameters}
    for group in made.param_groups:
        # Not in place: groups may share a tensor, which is the caller's.
        group["lr"] = group["lr"] * next((scales.get(parameter, 1.0) for parameter in group["params"]), 1.0)
    return made


def _handed(groups: Sequence[Declared]) -> list[Any]:
    """What an optimiser is made of: parameters, or groups of them where some are declared."""
    if not any(each.name for each in groups):
        return [parameter for each in groups for parameter in each.parameters]
    return [{"params": each.parameters, **_own(each)} for each in groups]


def _own(declared: Declared) -> dict[str, Any]:
    """What a group says beside its rate, which is set afterwards, and its clip."""
    betas, decay = declared.group.betas, declared.group.weight_decay
    return {**({} if betas is None else {"betas": tuple(betas)}), **({} if decay is None else {"weight_decay": decay})}


def _made(factory: Factory, handed: list[Any], settings: Settings) -> Optimizer:
    grouped = bool(handed) and isinstance(handed[0], dict)
    what = "groups of parameters, since modules declare their own" if grouped else "parameters"
    try:
        made = factory(handed, lr=settings.lr) if isinstance(factory, type) else factory(handed)
    except Exception as error:
        raise ValueError(f"optimizer= is called with a list of {len(handed)} {what}; it failed: {error}") from error
    if not isinstance(made, Optimizer):
        raise ValueError(f"optimizer= makes a torch.optim.Optimizer of a list of parameters; got {type(made).__name__}")
    if isinstance(made, torch.optim.LBFGS):
        raise ValueError(
            "optimizer= makes an LBFGS, which needs the loss of a batch several times a step; take another"
        )
    return made


def _check_made(made: Optimizer, groups: Sequence[Declared]) -> None:
    """ValueError, by name, for an optimiser that does not train all parameters as they were asked to be."""
    held = set(parameters_of(made))
    left = [(each, number) for each in groups for number, p in enumerate(each.parameters) if p not in held]
    if left:
        total = sum(len(each.parameters) for each in groups)
        raise ValueError(
            f"optimizer= leaves out {len(left)} of {total} parameters, such as {left[0][0].names[left[0][1]]}; what is "
            "not to be trained has requires_grad False"
        )
    if not all("lr" in group for group in made.param_groups):
        raise ValueError("optimizer= makes an optimiser with groups of parameters that have no lr")
    owner = {parameter: each for each in groups for parameter in each.parameters}
    for group in made.param_groups:
        joined = {owner[parameter] for parameter in group["params"] if parameter in owner}
        if len(joined) > 1:
            names = " and ".join(sorted(each.name or "the rest" for each in joined))
            raise ValueError(
                f"optimizer= joins the groups of {names}, which it is given apart; pass them on as they are"
            )
    for each in groups:
        for name in _own(each):
            if name not in made.defaults:
                raise ValueError(
                    f"{each.name} declares {name}, and optimizer= makes a {type(made).__name__}, which has none"
                )


def recorded(factory: Factory | None, module: nn.Module, settings: Settings) -> dict[str, Any]:
    """The optimiser by its name, the numbers of its groups and what modules declare, for `run.json`."""
    groups = groups_of(module)
    made = build(factory, groups, settings)
    declared = {"declared": described(groups)} if described(groups) else {}
    if factory is None:
        return {**USUAL, **declared}
    kind = type(made)
    home = "" if kind.__module__.startswith("torch.optim") else f"{kind.__module__}."
    return {"name": f"{home}{kind.__qualname__}", "groups": _numbers(made), **declared}


def moments(optimizer: Optimizer) -> dict[str, Tensor]:
    """Every tensor that the optimiser keeps, by the place of its parameter and its name."""
    return {name: value for name, value in _state(optimizer).items() if isinstance(value, Tensor)}


def numbers_of(optimizer: Optimizer) -> dict[str, Any]:
    """Everything else that it keeps, for JSON: numbers of parameters and of groups. Raises ValueError for objects."""
    state = {name: value for name, value in _state(optimizer).items() if not isinstance(value, Tensor)}
    if wrong := [name.partition(".")[2] for name, value in state.items() if not _plain(value)]:
        raise ValueError(
            f"the state of {type(optimizer).__name__} cannot be saved: its {wrong[0]} is no tensor or number"
        )
    return {"state": state, "groups": _numbers(optimizer)}


def put_back(optimizer: Optimizer, tensors: Mapping[str, Tensor], held: Mapping[str, Any], path: Path) -> None:
    """Gives an optimiser the tensors of `moments` and the numbers of `numbers_of`, where its parameters lie now.

    Raises RunError where they are those of other parameters.
    """
    parameters = parameters_of(optimizer)
    groups = {id(parameter): group for group in optimizer.param_groups for parameter in group["params"]}
    for name, value in {**tensors, **held.get("state", {})}.items():
        place, _, key = name.partition(".")
        if not place.isdigit() or int(place) >= len(parameters):
            raise RunError(f"{path} holds the optimiser's {name}; there are {len(parameters)} parameters")
        parameter = parameters[int(place)]
        if isinstance(value, Tensor):
            value = _placed(value, key, parameter, groups[id(parameter)])
        optimizer.state[parameter][key] = value
    for group, saved in zip(optimizer.param_groups, held.get("groups", ()), strict=False):
        group.update({key: tuple(value) if isinstance(value, list) else value for key, value in saved.items()})


def parameters_of(optimizer: Optimizer) -> list[nn.Parameter]:
    """All parameters of an optimiser, group by group."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _placed(value: Tensor, key: str, parameter: Tensor, group: Mapping[str, Any]) -> Tensor:
    if value.ndim and value.shape == parameter.shape:
        # In the memory layout of its parameter, in which a fused step reads both.
        return torch.empty_like(parameter, dtype=value.dtype).copy_(value)
    # torch counts steps on the host, but for a step that the device makes by itself.
    on_host = key == "step" and not (group.get("fused") or group.get("capturable"))
    return value.clone() if on_host else value.to(parameter.device, copy=True)


def _state(optimizer: Optimizer) -> dict[str, Any]:
    places = enumerate(parameters_of(optimizer))
    kept = optimizer.state
    return {f"{place}.{name}": value for place, p in places if p in kept for name, value in kept[p].items()}


def _numbers(optimizer: Optimizer) -> list[dict[str, Any]]:
    groups = [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]
    return json.loads(json.dumps([{key: value for key, value in group.items() if _plain(value)} for group in groups]))


def _plain(value: Any) -> bool:
    if isinstance(value, (tuple, list)):
        return all(_plain(each) for each in value)
    return value is None or isinstance(value, (bool, int, float, str))
