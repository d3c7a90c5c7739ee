"""Which parameters are trained together: those of a module that declares a group of its own, and the rest."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from polyvae.model.groups import Group

REST = Group()


@dataclass(frozen=True, eq=False)
class Declared:
    """A group by the name of the module that declares it, its parameters and their names; the rest have no name."""

    name: str
    group: Group
    parameters: list[nn.Parameter]
    names: list[str]


def groups_of(module: nn.Module) -> list[Declared]:
    """The parameters to be trained, first those of which no module says anything.

    A parameter belongs to the innermost module around it that has an `optimizer`. Raises TypeError where that is no
    `Group`, ValueError for a parameter that two of them share.
    """
    rest = Declared("", REST, [], [])
    made: dict[nn.Module, Declared] = {}
    owners: dict[str, Declared] = {}
    for name, part in module.named_modules(remove_duplicate=False):
        if said := _said(name, part):
            owners[name] = made.setdefault(part, Declared(name, said, [], []))
    held: dict[nn.Parameter, Declared] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        if not parameter.requires_grad:
            continue
        owner = next((owners[place] for place in _around(name) if place in owners), rest)
        if parameter not in held:
            held[parameter] = owner
            owner.parameters.append(parameter)
            owner.names.append(name)
        elif held[parameter] is not owner:
            others = " and ".join(each.name or "the rest" for each in (held[parameter], owner))
            raise ValueError(f"the parameter {name} is shared by the optimiser groups of {others}; declare one of them")
    return [each for each in (rest, *made.values()) if each.parameters]


def clips(groups: Sequence[Declared], clip: float | None) -> list[tuple[list[nn.Parameter], float]]:
    """The parameters whose gradients are clipped together and their largest norm: the rest by the setting `clip`."""
    together = [parameter for each in groups if each.group.clip is None for parameter in each.parameters]
    rest = [(together, clip)] if clip is not None and together else []
    return rest + [(each.parameters, each.group.clip) for each in groups if each.group.clip is not None]


def described(groups: Sequence[Declared]) -> dict[str, Any]:
    """What was declared, by the name of the module, for `run.json`."""
    said = {each.name: asdict(each.group) for each in groups if each.name}
    for group in said.values():
        if group["weight_decay"] is None:  # runs were recorded without it
            del group["weight_decay"]
    return json.loads(json.dumps(said))


def _said(name: str, part: nn.Module) -> Group | None:
    said = getattr(part, "optimizer", None)
    if said is None or isinstance(said, nn.Module):  # a part or a term may be named so
        return None
    if not isinstance(said, Group):
        raise TypeError(f"the `optimizer` of {name} is a polyvae.model.Group; got a {type(said).__name__}")
    return said


def _around(name: str) -> Iterator[str]:
    """The modules around a parameter, the innermost first."""
    while name:
        name = name.rpartition(".")[0]
        yield name
