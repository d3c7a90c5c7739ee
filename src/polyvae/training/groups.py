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
    """A group by the name of the module that declares it, and its parameters; the rest have no name."""

    name: str
    group: Group
    parameters: list[nn.Parameter]
    names: list[str]


def groups_of(module: nn.Module) -> list[Declared]:
    """The parameters to be trained, first those of which no module says anything.

    A parameter belongs to the innermost module around it that has an `optimizer`. Raises TypeError where that is no
    `Group`, ValueError for a parameter that two of them share.
    """
    owners = {name: part for name, part in module.named_modules(remove_duplicate=False) if _declares(name, part)}
    found: dict[int, Declared] = {id(None): Declared("", REST, [], [])}
    held: dict[nn.Parameter, int] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        if not parameter.requires_grad:
            continue
        place = next((place for place in _around(name) if place in owners), "")
        owner = owners.get(place)
        if parameter not in held:
            group = found.setdefault(id(owner), Declared(place, owner.optimizer if owner else REST, [], []))  # pyright: ignore
            group.parameters.append(parameter)
            group.names.append(name)
        elif held[parameter] != id(owner):
            others = " and ".join(each or "the rest" for each in (found[held[parameter]].name, place))
            raise ValueError(f"the parameter {name} is shared by the optimiser groups of {others}; declare one of them")
        held.setdefault(parameter, id(owner))
    return [each for each in found.values() if each.parameters]


def clips(groups: Sequence[Declared], clip: float | None) -> list[tuple[list[nn.Parameter], float]]:
    """The parameters whose gradients are clipped together and their largest norm: the rest by the setting `clip`."""
    together = [parameter for each in groups if each.group.clip is None for parameter in each.parameters]
    rest = [(together, clip)] if clip is not None and together else []
    return rest + [(each.parameters, each.group.clip) for each in groups if each.group.clip is not None]


def described(groups: Sequence[Declared]) -> dict[str, Any]:
    """What was declared, by the name of the module, for `run.json`."""
    return json.loads(json.dumps({each.name: asdict(each.group) for each in groups if each.name}))


def _declares(name: str, part: nn.Module) -> bool:
    said = getattr(part, "optimizer", None)
    if said is None or isinstance(said, nn.Module):  # a part or a term may be named so
        return False
    if not isinstance(said, Group):
        raise TypeError(f"the `optimizer` of {name} is a polyvae.model.Group; got a {type(said).__name__}")
    return True


def _around(name: str) -> Iterator[str]:
    """The modules around a parameter, the innermost first."""
    while name:
        name = name.rpartition(".")[0]
        yield name
