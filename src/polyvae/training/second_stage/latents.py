"""The latents of a run as data: draws of its frozen posterior, made anew each time that an example is looked at."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Independent, Normal

from polyvae.data.columns.labels import KNOWN
from polyvae.data.cuts import shuffled
from polyvae.data.exchange.codes import retold
from polyvae.data.loading import as_data
from polyvae.data.seeds import forked, generator_states
from polyvae.data.split import Data, Split, Transform
from polyvae.evaluation.blocks import check_gaps
from polyvae.model.parts import given, home, shapes
from polyvae.model.spec import Spec
from polyvae.model.vae import VAE, Values
from polyvae.training.run import Run
from polyvae.training.second_stage.codes import has_codes
from polyvae.training.second_stage.kept import called, origin
from polyvae.training.store import RunError

ROWS = 1000  # examples that are encoded at once
SEEN = "seen of x"  # the mask of the examples beside their latents, which lack nothing


@dataclass(frozen=True)
class Drawn:
    """A batch of examples becomes x, one draw of their latents each: by the data's own transform, the run's, its model.

    The draws follow from torch's generators, which training and validation seed for each batch.
    """

    model: VAE
    observe: Callable[[Values], Values]
    names: tuple[str, ...]
    before: Transform | None = None

    @torch.no_grad()
    def __call__(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        here, read = next(iter(values.values())).device, self.read(values)
        rows = len(next(iter(read.values())))
        parts = [{name: value[first : first + ROWS] for name, value in read.items()} for first in range(0, rows, ROWS)]
        drawn = torch.cat([self._drawn(part) for part in parts]).to(here)
        return {"x": drawn, **_labels(values)}

    def _drawn(self, part: Values) -> Tensor:
        found = self.model.infer(part).values
        return torch.cat([found[name] for name in self.names], 1)

    def read(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """What the model reads of examples, where it is."""
        values = {"seen" if name == SEEN else name: value for name, value in values.items()}
        batch = self.observe(values if self.before is None else self.before(values))
        return {name: value.to(home(self.model)) for name, value in batch.items() if name in self.model.inputs}


@dataclass(frozen=True)
class Vector:
    """The latents of a run to which a prior is fitted, in a row: their names, their dimensions, and the run.

    `seen`: the examples, observed, that a prior may begin with; none where a stored one is read.
    """

    run: Run
    names: tuple[str, ...]
    seen: Callable[[int], Values] | None = None

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Each latent's."""
        sizes = _sizes(self.run.model)
        return {name: (sizes[name],) for name in self.names}

    @property
    def dimensions(self) -> int:
        """Their numbers together."""
        return sum(size for (size,) in self.shapes.values())

    def alone(self, what: str) -> str:
        """The name of the one latent; RunError, by `what` is for one alone, where there are several."""
        if len(self.names) == 1 and self.names[0] in self.run.model.posterior:
            return self.names[0]
        found = f"{called(self.run)} has several: {', '.join(self.names)}"
        raise RunError(f"{what} is for a run of one such latent, and {found}; take a mixture or a flow of them all")


def vectors_of(run: Run) -> tuple[str, ...]:
    """The names of the run's vectors whose prior reads nothing: one, or of several modalities as many as there are.

    RunError, by name, where there is none, or several in a run of one x.
    """
    several = run.spec is not None and bool(run.spec.modalities)
    sizes = _sizes(run.model, several)
    found = tuple(name for name in run.model.plan.latents if name in sizes)
    if len(found) == 1 or (found and several):
        return found
    others = [name for name in run.model.prior if name not in found]
    why = f"has several: {', '.join(found)}" if found else f"has none among {', '.join(others)}"
    told = "; for codes there is `polyvae train-prior`" if has_codes(run) else ""
    raise RunError(
        f"a prior is fitted to the one latent that is a vector and whose own prior reads nothing, of which "
        f"{called(run)} {why}{told}"
    )


def _sizes(model: VAE, joint: bool = True) -> dict[str, int]:
    """The dimensions of every latent that is a vector, whose prior reads nothing and is of no summed one.

    `joint`: whether latents that have one law together, as prior or posterior, are among them.
    """
    found: dict[str, int] = {}
    for name, prior in model.prior.items():
        if given(prior) or name in model.summed or not (joint or (name in model.posterior and not shapes(prior))):
            continue
        of = shapes(prior) or {name: tuple(prior({}).event_shape)}
        if all(len(shape) == 1 for shape in of.values()):
            found |= {each: shape[0] for each, shape in of.items()}
    return found


def latent_data(run: Run, data: Any) -> Data:
    """The examples of the data as draws of the run's vector, or vectors in a row, x [N, d], made anew at every look.

    Posteriors that are independent normals are computed at once, where examples of training and validation are read
    without drawing. Of a posterior that is a point the draws are the point; of examples with gaps, those of what is
    seen; below a class that is summed over, those of a class drawn first. Raises RunError for a run without such a
    vector, ValueError for gaps that its model does not know of.
    """
    names, data = vectors_of(run), _told(run, data)
    model = deepcopy(run.model).requires_grad_(False).eval()
    model.summed = frozenset()  # what z depends on is drawn as z is, where a sum would give a z for each of its values
    parts = {}
    for part, each in data.parts.items():
        held = {SEEN if key == "seen" else key: value for key, value in each.tensors.items()}
        drawn = Drawn(model, run.recipe.observe, names, each.transform)
        parts[part] = Split(held, drawn) if part == "test" else _kept(Split(held), drawn)
    spec = Spec((Vector(run, names).dimensions,), data.spec.classes, levels=None, labels=data.spec.labels)
    return Data(f"latents of {data.name}", parts["train"], parts["validation"], parts["test"], spec,
                 origin(run, "latents_of"))  # fmt: skip


def _kept(split: Split, drawn: Drawn) -> Split:
    """Draws of the examples from means and scales that are kept, where they say all: to encode is most of a fit's time.

    They do of the first latent, whose law no other draw changes.
    """
    if drawn.before is not None or drawn.names != (next(iter(drawn.model.posterior)),):
        return replace(split, transform=drawn)
    normals = normals_of(split, drawn.model, drawn.names[0], drawn.read)
    if normals is None:
        return replace(split, transform=drawn)
    return Split({"normals": normals, **_labels(split.tensors)}, _redrawn)


@torch.no_grad()
def normals_of(
    split: Split, model: VAE, name: str, read: Callable[[dict[str, Tensor]], dict[str, Tensor]]
) -> Tensor | None:
    """Means and scales [N, 2, d] of the posterior of every example; None where it is another law than a normal one of
    independent values, or where to `read` an example draws something itself."""
    found: list[Tensor] = []
    with forked(split.device), forked(home(model)):
        for index in torch.arange(len(split), device=split.device).split(ROWS):
            before = [*generator_states(split.device), *generator_states(home(model))]
            q = model.encode(read(split.batch(index)))[name]
            after = [*generator_states(split.device), *generator_states(home(model))]
            moved = not all(map(torch.equal, before, after))
            if moved or not isinstance(q, Independent) or type(q.base_dist) is not Normal:
                return None
            found.append(torch.stack([q.base_dist.loc, q.base_dist.scale], 1).to(split.device))
    return torch.cat(found) if found else None


def _redrawn(values: dict[str, Tensor]) -> dict[str, Tensor]:
    """A draw of each of these normals, means and scales [N, 2, d]."""
    loc, scale = values["normals"].unbind(1)
    return {"x": loc + scale * torch.randn_like(loc), **_labels(values)}


def _labels(values: Values) -> dict[str, Tensor]:
    """Classes beside the examples, which a prior may learn from."""
    y = values.get("y")
    return {} if y is None or y.ndim != 1 else {n: values[n] for n in ("y", KNOWN) if n in values}


def _told(run: Run, data: Any) -> Data:
    """The data as the run's model reads them. Raises ValueError for gaps that it does not know of."""
    found = retold(as_data(data, gaps=True), run.spec)
    check_gaps(run.model, *found.parts.values(), columns=found.spec.columns)
    return found


def examples(run: Run, data: Any, seed: int) -> Callable[[int], Values]:
    """So many training examples as the run's model reads them, the same for the same seed."""
    train = _told(run, data).train

    def chosen(count: int) -> Values:
        index = shuffled(len(train), seed)[:count].to(train.device)
        return run.recipe.observe(train.batch(index))

    return chosen
