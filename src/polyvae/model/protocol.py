"""What a part or a law may offer beside its call: the whole contract of parts of your own, checked where it is used.

A part is a module that maps values to a distribution (a posterior, a prior, a likelihood), to a tensor (a feature), or
a draw to a cost (a term). Nothing else is asked of it; each of these, where it is there, is used as it says.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

from torch import Size, Tensor, nn
from torch.distributions import Distribution
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase

from polyvae.checks.names import kind
from polyvae.model.draw import Values
from polyvae.model.groups import Group
from polyvae.model.parts import Head, checked_names


class Reads(Protocol):
    """A part that reads values by name. Without `given` it reads nothing and stands for every row alike."""

    given: str | Sequence[str]


class Observes(Protocol):
    """A likelihood that, beside what it is `given`, reads what other heads explain, such as p(s | x) of a mask s.

    A pass, which holds them, scores it. `decode` leaves it out: the latents alone do not say what it is.
    """

    observes: str | Sequence[str]


class Joint(Protocol):
    """A posterior or prior whose law, of a vector, is of several latents at once, their values one after the other."""

    shapes: Mapping[str, Sequence[int]]


class Certain(Protocol):
    """A posterior whose draws are all one, such as a map of codes: a bound needs one of them."""

    certain: bool


@runtime_checkable
class Starts(Protocol):
    """A part that starts from data before the first step of a run, such as a codebook.

    `VAE.start` calls it once, in evaluation mode and without gradients, with up to 4,096 observed examples and the
    centres of the latents drawn before it.
    """

    def start(self, values: Values) -> None: ...


@runtime_checkable
class ChecksExamples(Protocol):
    """What is shown examples in the middle of a run, and says before its first step where there are too few of them."""

    def check(self, examples: int) -> None: ...


@runtime_checkable
class Embeds(Protocol):
    """A posterior over code words: integers in the place of its latent are embedded by it before they are decoded."""

    def embed(self, codes: Tensor) -> Tensor: ...


class HasCodebook(Protocol):
    """A posterior over code words, whose use evaluation counts; see `distributions.codes.Words`."""

    codebook: Any


@runtime_checkable
class TellsEpoch(Protocol):
    """A part, term or balance with numbers of its own for each row of metrics; telling them starts the next epoch's.

    It tells for the modules that it holds too, which are not asked.
    """

    def epoch_values(self) -> dict[str, float]: ...


class Counted(Protocol):
    """A part that sums over processes. `counted` is set before each step: for how many examples this process stands."""

    counted: int


@runtime_checkable
class TrainedOn(Protocol):
    """A term that stands for all of the data and not for a batch: it is told how many examples a run trains on."""

    def trained_on(self, examples: int) -> None: ...


@runtime_checkable
class Watches(Protocol):
    """A term that says what is wrong with its means on the validation part in the epochs so far, or None; a run warns.

    The warning is given after the first epoch of which it says something and did not before.
    """

    def wrong(self, means: Sequence[float]) -> str | None: ...


class Divergence(Protocol):
    """A term that says that it is a divergence of q, or a part of one: infinite where the posterior is a point."""

    divergence: bool


class TrainsModel(Protocol):
    """A term that says whether its gradient reaches the model; one that does not say is taken to.

    A critic's own cost, which moves the critic alone, does not: it is no part of how good a model is.
    """

    trains_model: bool


class TrainsPrior(Protocol):
    """A term that says whether its gradient reaches the prior; one that does not say is taken to.

    "by its draws": where the prior's draws carry a gradient, see `Reparametrised`.
    """

    trains_prior: bool | Literal["by its draws"]


class Reparametrised(Protocol):
    """A prior that says whether its draws carry a gradient, as a mixture's do not; one that is silent is taken to."""

    reparametrised: bool


class TrainsApart(Protocol):
    """A module whose own parameters are a group of the optimiser, with a rate, betas or a clip of their own."""

    optimizer: Group


@runtime_checkable
class DrawsAndScores(Protocol):
    """A law that scores its draws as it makes them: z [*shape, *batch, *event] and log q(z) [*shape, *batch]."""

    def rsample_and_log_prob(self, shape: Size) -> tuple[Tensor, Tensor]: ...


@runtime_checkable
class Detaches(Protocol):
    """A law that returns itself with parameters that take no gradient, where its networks are out of reach."""

    def detached(self) -> Distribution: ...


@runtime_checkable
class Unfolds(Protocol):
    """A law of batch shape [K * B] as a view of batch shape [K, B], so that x [B, ...] need not be copied K times."""

    def unfold(self, samples: int) -> Distribution: ...


@runtime_checkable
class Tempers(Protocol):
    """A prior's law that draws otherwise at a temperature, below 1 nearer to what is likely; its scores may stay."""

    def tempered(self, temperature: float) -> Distribution: ...


@runtime_checkable
class FitsAmong(Protocol):
    """A law that fits itself to what it scores: the same, fitted to the rows [B] that are True alone."""

    def among(self, rows: Tensor) -> Distribution: ...


@runtime_checkable
class ScoresValues(Protocol):
    """A law of independent values that scores each on its own: log p in the shape of x, for weights by what is seen."""

    def value_log_prob(self, x: Tensor) -> Tensor: ...


def check_part(role: str, name: str, part: Any) -> None:
    """TypeError, by name, where a part offers something that could not be used as the contract says."""
    what = f"the {role} {name!r}" if role == "feature" else f"the {role} of {name!r}"
    if not isinstance(part, nn.Module):
        raise TypeError(f"{what} is a torch.nn.Module that is called with values; got {kind(part)}")
    if isinstance(part, Head):
        return check_part("likelihood", name, part.likelihood)
    checked_names(getattr(part, "given", ()), f"{what}: ")
    if _takes_tensors(part):
        made, by = ("a tensor", "Feature(network") if role == "feature" else ("a law", "Conditional(network, family")
        raise TypeError(
            f"{what} maps values by name to {made}; {kind(part)} is called with tensors: write polyvae.{by}, given)"
        )
    if wrong := [name for name in ("start", "embed", "epoch_values") if not callable(getattr(part, name, print))]:
        raise TypeError(f"{what}: {wrong[0]} is a method by the contract of parts; got {getattr(part, wrong[0])!r}")
    if not isinstance(getattr(part, "certain", False), bool):
        raise TypeError(f"{what}: certain is True or False; got {part.certain!r}")
    shapes = getattr(part, "shapes", {})
    if not isinstance(shapes, Mapping) or not all(isinstance(shape, Sequence) for shape in shapes.values()):
        raise TypeError(f"{what}: shapes maps the latents of one law to their shapes, as {{'a': (4,)}}; got {shapes!r}")


def check_values(values: Any, names: Iterable[str]) -> None:
    """TypeError, with the first of the names for an example, unless values are a mapping."""
    if not isinstance(values, Mapping):
        raise TypeError(f"a model takes values by name, as {{{next(iter(names), 'x')!r}: ...}}; got {kind(values)}")


def _takes_tensors(part: nn.Module) -> bool:
    """Whether a module is called with tensors, as networks are: one of torch's own, or one that says so."""
    if hasattr(part, "given"):
        return False
    said = [each.annotation for each in inspect.signature(part.forward).parameters.values()]
    return type(part).__module__.startswith("torch.nn.modules.") or any(
        each in (Tensor, "Tensor", "torch.Tensor") for each in said
    )


def check_statistics(posteriors: nn.ModuleDict, priors: nn.ModuleDict) -> None:
    """ValueError where a prior is made of a posterior's layers that hold statistics of a batch.

    Such a layer would see the data and the prior's pseudo-inputs by turns: its running statistics are those of
    neither, so that the prior in evaluation is not the one that was trained.
    """
    mine = {id(layer) for layer in posteriors.modules() if _has_statistics(layer)}
    for name, prior in priors.items():
        if shared := [type(layer).__name__ for layer in prior.modules() if id(layer) in mine]:
            raise ValueError(
                f"the prior of {name!r} ({type(prior).__name__}) reads the posterior's network, which holds "
                f"{len(shared)} layers of batch statistics ({', '.join(sorted(set(shared)))}), so that it would not be "
                "the same in training and evaluation; take a network without, as conv or residual with norm='group'"
            )


def _has_statistics(layer: nn.Module) -> bool:
    return isinstance(layer, _NormBase) and (isinstance(layer, _BatchNorm) or layer.track_running_stats)
