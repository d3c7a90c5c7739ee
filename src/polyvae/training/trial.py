"""A few examples through a recipe before its first step, so that a mistake in a user's own part is told by its name."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn.parameter import is_lazy

from polyvae.checks.finite import NonFiniteError
from polyvae.checks.names import kind
from polyvae.data.seeds import forked, seed_generators
from polyvae.data.split import Data
from polyvae.model.parts import evaluation_mode
from polyvae.model.vae import VAE, Conditional, Draw, Values
from polyvae.objectives.objective import Objective
from polyvae.recipes import Recipe

OBJECTIVE = "the objective"
ROWS = 2  # enough for terms that compare examples
Check = Callable[[Any, bool], None]  # of what a part returns, and whether no other part asked for it


def as_recipe(anything: Any, build: Any) -> Recipe:
    """A recipe as it is, one of a name by `build(name)`, and a bare VAE with the plain bound for its objective.

    Raises TypeError for anything else, and where an objective is no module.
    """
    if isinstance(anything, str):
        return build(anything)
    if isinstance(anything, VAE):
        return Recipe(anything, Objective(), start=anything.start if anything.starts else None)
    if not isinstance(anything, Recipe):
        got = type(anything).__name__
        how = "VAE(posterior, prior, likelihood) makes a model of modules" if isinstance(anything, nn.Module) else ""
        if callable(anything) and hasattr(anything, "__wrapped__"):
            got, how = f"the function {anything.__name__}", f"call it with the data's spec: {anything.__name__}(spec)"
        raise TypeError(f"fit trains a Recipe, a VAE or the recipe of a name; got {got}" + (how and f"; {how}"))
    if not isinstance(anything.model, VAE):
        raise TypeError(f"a recipe's model is a VAE; got {type(anything.model).__name__}")
    if not isinstance(anything.objective, nn.Module):
        raise TypeError(
            f"a recipe's objective is a module, called with (model, batch, step); got {kind(anything.objective)}. A "
            "function of a draw is a term: Objective({'name': function})"
        )
    return anything


def tried(recipe: Recipe, data: Data, seed: int) -> dict[str, Distribution]:
    """Takes two training examples through transform, model, terms and objective, in evaluation mode without gradients.

    Returns the law that each head has of them, by the head's name, as `check_support` asks for.

    Lazy modules get their shapes here, and weights from `seed`. Generators, modes and statistics stay as they were.
    Raises ValueError that names the part: for data without examples or without a value that the model needs, a network
    of the wrong size, a part that returns no distribution, laws whose shapes do not fit, a term or an objective that
    does not return what it should, and for whatever else a part raises.
    """
    for part in ("train", "validation"):
        if not len(getattr(data, part)):
            raise ValueError(f"the {part} part of the data is empty")
    with forked(data.train.device), evaluation_mode(recipe.model, recipe.objective):
        seed_generators(data.train.device, seed)
        index = torch.arange(min(ROWS, len(data.train)), device=data.train.device)
        batch = _observed(recipe, data.train.batch(index))
        if missing := [name for name in recipe.model.inputs if name not in batch]:
            raise ValueError(f"the model needs {missing}, the data hold {sorted(batch)}")
        draw = recipe.model(batch) if recipe.solve is not None else _Trial(_copy(recipe), batch).run()
    return {name: head.p for name, head in draw.heads.items()}


def _copy(recipe: Recipe) -> Recipe:
    """Model and objective to be tried, so that nothing they keep moves; themselves where lazy modules wait for shapes,
    or where a part cannot be copied.
    """
    parts = recipe.model, recipe.objective
    if any(is_lazy(tensor) for part in parts for tensor in (*part.parameters(), *part.buffers())):
        return recipe
    try:
        model, objective = copy.deepcopy(parts)
    except Exception:  # whatever a user's own part raises
        return recipe
    return replace(recipe, model=model, objective=objective)


def _observed(recipe: Recipe, first: dict[str, Tensor]) -> Values:
    try:
        held = recipe.observe(first)
    except KeyError as error:
        raise ValueError(f"the recipe transforms {error}, the data hold {sorted(first)}") from None
    except Exception as error:
        raise ValueError(f"the recipe's transform of a batch failed: {_said(error)}") from error
    if not isinstance(held, Mapping):
        raise ValueError(f"the recipe's transform of a batch returns values by name; got {kind(held)}")
    tensors = (*recipe.model.parameters(), *recipe.model.buffers())
    return {name: value.to(tensors[0].device) for name, value in held.items()} if tensors else held


class _Trial:
    """One pass, watched: which part is at work, what it was given and what it made."""

    def __init__(self, recipe: Recipe, batch: Values) -> None:
        self.model, self.objective, self.batch, self.monitor = recipe.model, recipe.objective, batch, recipe.monitor
        self.rows = len(batch[recipe.model.inputs[0]])
        self.samples = getattr(recipe.objective, "samples", 1)
        self.at_work: list[tuple[str, list[list[int]]]] = []
        self.laws: dict[str, Distribution] = {}

    def run(self) -> Draw:
        with self._watched():
            try:
                return self._check()
            except _Told as error:
                raise ValueError(str(error)) from None  # the class is for this file alone
            except (NonFiniteError, torch.OutOfMemoryError):
                raise
            except Exception as error:
                if not self.at_work:
                    raise
                part, shapes = self.at_work[-1]
                given = f", given {', '.join(map(str, shapes))}," if shapes else ""
                raise ValueError(f"{part}{given} failed: {_said(error)}{_meant(error)}") from error

    def _check(self) -> Draw:
        draw = self.model(self.batch, self.samples)
        if isinstance(self.objective, Objective):
            for name, weighted in self.objective.terms.items():
                part = f"the term {name!r}"
                self.at_work.append((part, []))
                value = weighted.term(draw)  # pyright: ignore[reportCallIssue]
                self.at_work.pop()
                self._check_term(part, value, draw.samples)
        self.at_work.append((OBJECTIVE, []))
        values = self.objective(self.model, self.batch, 0)
        self.at_work.pop()
        if not isinstance(values, Mapping):
            raise _Told(f"the objective returns scalars by name, 'loss' and 'bound' among them; got {kind(values)}")
        if missing := {"loss", self.monitor} - set(values):
            raise _Told(f"the objective returns {sorted(values)}; training needs {sorted(missing)} too")
        for name, value in values.items():
            if not isinstance(value, Tensor) or value.ndim:
                raise _Told(f"the objective's {name!r} is a scalar tensor; got {kind(value)}")
        return draw

    def _check_term(self, part: str, value: Any, samples: int) -> None:
        wanted = [(), (self.rows,), (samples, self.rows)]
        if not isinstance(value, Tensor) or tuple(value.shape) not in wanted:
            raise _Told(
                f"{part} returns a tensor, a cost for each draw of each example [K, B] = {list(wanted[-1])} or a "
                f"scalar; got {kind(value)}"
            )

    @contextmanager
    def _watched(self) -> Iterator[None]:
        handles = []
        try:
            for part, module, check in list(self._parts()):  # some look at a prior, which is not watched yet
                handles.append(module.register_forward_pre_hook(partial(self._begin, part)))
                handles.append(module.register_forward_hook(partial(self._end, check)))
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _parts(self) -> Iterator[tuple[str, nn.Module, Check]]:
        """Every part that a user may have written, its name and what is asked of what it returns."""
        model = self.model
        for name, feature in model.features.items():
            part = f"the feature {name!r}"
            yield part, feature, partial(_made, part)
        for name, posterior in model.posterior.items():
            part = f"the posterior of {name!r}"
            yield part, posterior, partial(self._law, part, (), partial(self.laws.__setitem__, part))
            size = self._prior_features(name)
            other = f"; or else the prior of {name!r}, a law of {size} values, is of the wrong size"
            yield from self._network(part, posterior, size, other)
        for name, prior in model.prior.items():
            part = f"the prior of {name!r}"
            yield part, prior, partial(self._law, part, (), partial(self._fits, part, f"the posterior of {name!r}"))
            yield from self._network(part, prior, None)
        for name, head in model.heads.items():
            part = f"the likelihood of {name!r}" + ("" if head.of == name else f" of {head.of!r}")
            x, likelihood = self.batch[head.of], head.likelihood  # pyright: ignore
            features = x.shape[1] if x.ndim > 1 else None
            explains = partial(_explains, part, tuple(x.shape[1:]))
            yield part, likelihood, partial(self._law, part, None, explains)  # pyright: ignore
            yield from self._network(part, likelihood, features)  # pyright: ignore

    def _network(
        self, part: str, module: nn.Module, features: int | None, other: str = ""
    ) -> Iterator[tuple[str, nn.Module, Check]]:
        if isinstance(module, Conditional):
            needed = None if features is None else module.family.size(features)
            yield f"the network of {part}", module.net, partial(_sized, part, needed, other)

    def _prior_features(self, name: str) -> int | None:
        """How many features the latent has by its prior, where this reads nothing."""
        if name not in self.model.prior:  # one law of several latents stands on one of the sides
            return None
        prior = self.model.prior[name]
        if getattr(prior, "given", ()):
            return None
        try:
            law = prior({})
        except Exception:  # told by name when it is asked in its turn
            return None
        return law.event_shape[0] if isinstance(law, Distribution) and law.event_shape else None

    def _begin(self, part: str, _: nn.Module, given: tuple[Any, ...]) -> None:
        self.at_work.append((part, [list(value.shape) for value in given if isinstance(value, Tensor)]))

    def _end(self, check: Check, _: nn.Module, __: tuple[Any, ...], made: Any) -> None:
        self.at_work.pop()
        check(made, all(part == OBJECTIVE for part, _ in self.at_work))

    def _law(
        self, part: str, unbatched: tuple[int, ...] | None, then: Callable[[Distribution], None], law: Any, alone: bool
    ) -> None:
        if not isinstance(law, Distribution):
            raise _Told(f"{part} returns a torch.distributions.Distribution; got {kind(law)}")
        if not alone:  # asked by another part, as a VampPrior asks the posterior
            return
        wanted = {(self.rows,), (self.rows * self.samples,), unbatched}
        # Below a latent that is summed over there are its values times as many rows.
        several = bool(self.model.summed) and law.batch_shape.numel() % (self.rows * self.samples) == 0
        if tuple(law.batch_shape) not in wanted and not (several and len(law.batch_shape) == 1):
            raise _Told(
                f"{part} is a law with batch shape [{self.rows * self.samples}], one for each example; got "
                f"{list(law.batch_shape)} and event shape {list(law.event_shape)}. Independent(law, n) makes the "
                "last n dimensions of a batch part of the event"
            )
        then(law)

    def _fits(self, part: str, posterior: str, law: Distribution) -> None:
        q = self.laws.get(posterior)
        if q is not None and q.event_shape != law.event_shape:
            raise _Told(f"{part} is a law over {list(law.event_shape)}, {posterior} one over {list(q.event_shape)}")


def _made(part: str, made: Any, _: bool) -> None:
    if not isinstance(made, Tensor):
        raise _Told(f"{part} returns a tensor; got {kind(made)}")


def _sized(part: str, needed: int | None, other: str, made: Any, _: bool) -> None:
    if not isinstance(made, Tensor) or made.ndim < 2:
        raise _Told(f"the network of {part} makes a tensor [B, numbers, ...]; got {kind(made)}")
    if needed is not None and made.shape[1] != needed:
        raise _Told(f"{part} needs {needed} numbers along dimension 1, its network made {made.shape[1]}{other}")


def _explains(part: str, x: tuple[int, ...], law: Distribution) -> None:
    if tuple(law.event_shape) != x:
        raise _Told(f"{part} is a law over {list(law.event_shape)}, an example has the shape {list(x)}")


class _Told(ValueError):
    """A mistake that has its name already."""


def _meant(error: BaseException) -> str:
    """What to write where a part seems to have taken its values for a tensor."""
    mistaken = isinstance(error, (AttributeError, TypeError)) and re.search(r"\bdict\b", str(error))
    return "; a part is called with values by name, as values['x'], a network with tensors" if mistaken else ""


def _said(error: BaseException) -> str:
    return f"{error}" if str(error) else type(error).__name__
