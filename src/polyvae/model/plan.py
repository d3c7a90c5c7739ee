"""The order in which a pass computes features, posteriors and priors, and at how many rows each of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from torch import nn

from polyvae.model.parts import given, shapes

FEATURE, POSTERIOR, PRIOR = "feature", "posterior", "prior"
Parts = Mapping[str, nn.Module] | nn.ModuleDict


@dataclass(frozen=True)
class Unit:
    """A latent as the bound scores it: one posterior and one prior, or several on one side against one on the other.

    `members`: the latents that it is of, in the order of its vector. `below`: it is drawn once for each sample of what
    was drawn before. `separate`: its prior was given only that.
    """

    name: str
    posteriors: tuple[str, ...]
    priors: tuple[str, ...]
    members: tuple[str, ...]
    below: bool
    separate: bool


@dataclass(frozen=True)
class Node:
    """One part's turn. `folds`: it is computed at the K * B rows of the draws, else at the B rows of the batch."""

    kind: str
    name: str
    folds: bool


class Plan:
    """What follows from the names that parts read.

    A feature is computed once, as soon as what it reads is known; a prior as soon as its latent is drawn and what it
    reads is known. ValueError, by name, for parts that wait for each other.
    """

    def __init__(self, posteriors: Parts, priors: Parts, features: Parts, heads: Iterable[str]) -> None:
        self.features = features
        self.parts = {FEATURE: features, POSTERIOR: posteriors, PRIOR: priors}
        sides = _members(posteriors), _members(priors)
        if set(sides[0]) != set(sides[1]):
            raise ValueError(f"posteriors {list(posteriors)} and priors {list(priors)} must name the same latents")
        self.latents = tuple(sides[0])
        if clash := set(features) & {*self.latents, *posteriors, *priors}:
            raise ValueError(f"{sorted(clash)} name both a latent and a feature; rename one of them")
        self._check_order(posteriors, sides[0], POSTERIOR)
        self._check_order(priors, sides[1], PRIOR)
        self.units = self._units(posteriors, priors, *sides)
        self.unit_of_prior = {key: unit for unit in self.units.values() for key in unit.priors}
        read = self.behind(heads).union(*(self.reads(part) for part in (*posteriors.values(), *priors.values())))
        if idle := [name for name in features if name not in read]:
            raise ValueError(f"no part reads the features {idle}; leave them away")
        self.nodes = tuple(self._walk())

    def reads(self, part: nn.Module) -> set[str]:
        """Every name that a part depends on: those it reads, features among them, and those that features read."""
        return self.behind(given(part))

    def behind(self, names: Iterable[str]) -> set[str]:
        """These names and those that the features among them depend on."""
        found, waiting = set(), list(names)
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                waiting += given(self.features[name]) if name in self.features else ()
        return found

    def known(self, names: Iterable[str]) -> set[str]:
        """Of these names and what is behind them, those that a batch must hold."""
        return self.behind(names) - set(self.latents) - set(self.features)

    def _check_order(self, parts: Parts, members: Mapping[str, str], kind: str) -> None:
        order = list(members)
        for key, part in parts.items():
            place = next(n for n, name in enumerate(order) if members[name] == key)
            if late := [name for name in order[place:] if name in self.reads(part)]:
                raise ValueError(f"the {kind} of {key!r} is given {late}, not drawn before it; the order is {order}")

    def _units(
        self, posteriors: Parts, priors: Parts, q_of: Mapping[str, str], p_of: Mapping[str, str]
    ) -> dict[str, Unit]:
        units: dict[str, Unit] = {}
        drawn: set[str] = set()
        for latent in self.latents:
            mine = [each for each in self.latents if q_of[each] == q_of[latent] or p_of[each] == p_of[latent]]
            name = latent if mine == [latent] else next(k for k in (q_of[latent], p_of[latent]) if k != latent)
            if name in units:
                continue
            if mine != list(self.latents[self.latents.index(mine[0]) :][: len(mine)]):
                raise ValueError(f"{mine} have one law together, but other latents stand between them; reorder them")
            joint = shapes(posteriors[name] if name in posteriors else priors[name])
            mine = [each for each in joint if each in mine] if len(mine) > 1 else mine  # as they stand in its vector
            qs, ps = (tuple(dict.fromkeys(side[each] for each in mine)) for side in (q_of, p_of))
            of_q = set().union(*(self.reads(posteriors[key]) for key in qs))
            of_p = set().union(*(self.reads(priors[key]) for key in ps)) & set(self.latents)
            if min(len(qs), len(ps)) > 1:
                raise ValueError(f"{[*qs, *ps]} are laws of several latents that overlap; one side has a law of each")
            if len(mine) > 1 and (of_q | of_p) & set(mine):
                raise ValueError(f"the parts of {name!r}, which is one law of {mine}, may not read one another")
            units[name] = Unit(name, qs, ps, tuple(mine), bool((of_q | of_p) & drawn), of_p <= drawn)
            drawn.update(mine)
        return units

    def _walk(self) -> Iterator[Node]:
        """Of what can be computed next, features come first, then priors, then the next posterior in its order."""
        latents = set(self.latents)
        below = {key: unit.below for unit in self.units.values() for key in unit.posteriors + unit.priors}
        left = [
            Node(kind, name, below.get(name, False) or (kind != POSTERIOR and bool(self.reads(part) & latents)))
            for kind in (FEATURE, PRIOR, POSTERIOR)
            for name, part in self.parts[kind].items()
        ]
        known: set[str] = set()
        while left:
            undrawn = [node.name for node in left if node.kind == POSTERIOR]
            node = next((node for node in left if self._ready(node, known, undrawn)), None)
            if node is None:
                raise ValueError(f"{', '.join(f'{node.kind} {node.name!r}' for node in left)}: each waits for another")
            left.remove(node)
            if node.kind != PRIOR:
                known.update(shapes(self.parts[node.kind][node.name]) or (node.name,))
            yield node

    def _ready(self, node: Node, known: set[str], undrawn: list[str]) -> bool:
        if node.kind == POSTERIOR and node.name != undrawn[0]:
            return False
        if node.kind == PRIOR and set(self.unit_of_prior[node.name].posteriors) & set(undrawn):
            return False
        inner = {*self.latents, *self.features}
        return set(given(self.parts[node.kind][node.name])) & inner <= known


def _members(parts: Parts) -> dict[str, str]:
    """Every latent that parts are of, and the name of its part."""
    return {latent: key for key, part in parts.items() for latent in shapes(part) or (key,)}
