"""Natural mistakes with parts of one's own: what was given is named, and what to write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Normal

import polyvae as pv
from polyvae.model import Feature
from polyvae.model.networks import mlp
from polyvae.objectives.terms import KL

NORMAL = pv.families.DiagonalNormal()


def network(inputs: int = 4, output: int = 4) -> nn.Module:
    return mlp([(inputs,)], (output,), (5,))


def vae(**others: Any) -> pv.VAE:
    parts: dict[str, Any] = {
        "posterior": pv.Conditional(network(), NORMAL, "x"),
        "prior": pv.priors.StandardNormal(2),
        "likelihood": pv.Conditional(network(2, 8), NORMAL, "z"),
    }
    return pv.VAE(**{**parts, **others})


class TakesTensor(nn.Module):
    """A posterior of a user who takes it for a network, without a word on what it is called with."""

    given = "x"

    def forward(self, x):  # type: ignore[no-untyped-def]
        return Normal(x.flatten(1), 1.0)


class Pair(nn.Module):
    given = "x"

    def forward(self, values: pv.Values) -> Any:
        return values["x"].chunk(2, 1)


class Shaped(Pair):
    shapes: Any = {"a": 2, "b": 2}  # noqa: RUF012


def decoded(draw: pv.Draw) -> Tensor:
    assert draw.decode is not None
    return draw.decode(draw.values["z"])["x"].mean.mean()  # pyright: ignore[reportArgumentType]


X = torch.randn(3, 4)
MISTAKES: dict[str, tuple[Callable[[], Any], str]] = {
    "model(x)": (lambda: vae()(X), r"by name, as \{'x': \.\.\.\}; got a tensor of shape \[3, 4\]"),
    "model([x])": (lambda: vae()([X]), r"by name, as \{'x': \.\.\.\}; got a list"),
    "encode(x)": (lambda: vae().encode(X), r"as \{'x': \.\.\.\}; got a tensor"),  # pyright: ignore[reportArgumentType]
    "decode(z)": (lambda: decoded(vae()({"x": X})), r"as \{'z': \.\.\.\}; got a tensor of shape \[3, 2\]"),
    "generate(y)": (lambda: vae().generate(X), r"by name, as .* got a tensor of shape \[3, 4\]"),  # pyright: ignore
    "a network for a posterior": (
        lambda: vae(posterior=network()),
        r"the posterior of 'z' maps values by name to a law; a Perceptron is called with tensors: "
        r"write polyvae\.Conditional\(network, family, given\)",
    ),
    "a network of torch for a likelihood": (
        lambda: vae(likelihood=nn.Sequential(nn.Linear(2, 4))),
        r"the likelihood of 'x' .*; a Sequential is called with tensors: write polyvae\.Conditional",
    ),
    "a network in a head": (lambda: vae(likelihood=pv.Head(network(2))), r"the likelihood of 'x' .* a Perceptron"),
    "a network for a feature": (
        lambda: vae(features={"h": network()}),
        r"the feature 'h' maps values by name to a tensor; a Perceptron is called with tensors: "
        r"write polyvae\.Feature\(network, given\)",
    ),
    "a list of features": (
        lambda: vae(features=[Feature(network(), "x")]),
        r"features go by name, as \{'h': polyvae\.Feature\(network, given\)\}; got a list",
    ),
    "a law for a prior": (
        lambda: vae(prior=Normal(0.0, 1.0)),
        r"the prior of 'z' is a torch.nn.Module that is called with values; got a Normal",
    ),
    "a class for a prior": (lambda: vae(prior=pv.priors.StandardNormal), r"got the class StandardNormal"),
    "a posterior that returns a tuple": (
        lambda: vae(posterior=Pair())({"x": X}),
        r"the posterior of 'z' returns a torch.distributions.Distribution; got a tuple",
    ),
    "a likelihood that returns a tensor": (
        lambda: vae(likelihood=pv.Conditional(network(2), nn.Identity(), "z"))({"x": X}),  # pyright: ignore
        r"the likelihood of 'x' returns a torch.distributions.Distribution; got a tensor of shape \[3, 4\]",
    ),
    "shapes that are numbers": (lambda: vae(posterior=Shaped()), r"as \{'a': \(4,\)\}; got \{'a': 2, 'b': 2\}"),
    "family before network": (
        lambda: pv.Conditional(NORMAL, network(), "x"),  # pyright: ignore[reportArgumentType]
        r"Conditional\(network, family, given\): the network is a module that makes a tensor; got a DiagonalNormal",
    ),
    "the class of a family": (
        lambda: pv.Conditional(network(), pv.families.DiagonalNormal, "x"),  # pyright: ignore[reportArgumentType]
        r"the family is a module.*; got the class DiagonalNormal",
    ),
    "given a tensor": (
        lambda: pv.Conditional(network(), NORMAL, X),  # pyright: ignore[reportArgumentType]
        r"given holds the names of values, as \('x', 'y'\); got a tensor of shape \[3, 4\]",
    ),
    "a feature given a tensor": (lambda: Feature(network(), X), r"given holds the names"),  # pyright: ignore
    "one term": (
        lambda: pv.Objective(KL()),  # pyright: ignore[reportArgumentType]
        r"terms go by name, as \{'kl': KL\(\)\}; got a KL",
    ),
    "a list of terms": (lambda: pv.Objective([KL()]), r"terms go by name, .*; got a list"),  # pyright: ignore
    "the class of a term": (
        lambda: pv.Objective({"kl": KL}),  # pyright: ignore[reportArgumentType]
        r"a term is called with a draw; got the class KL: write KL\(\)",
    ),
    "a weight beside a term": (
        lambda: pv.Objective({"kl": (2.0, KL())}),  # pyright: ignore[reportArgumentType]
        r"a term is called with a draw; got a tuple: write Weighted\(term, weight\)",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_natural_mistake_is_told_with_what_to_write(mistake: str) -> None:
    make, told = MISTAKES[mistake]
    with pytest.raises(TypeError, match=told):
        make()


def test_a_part_that_takes_a_tensor_is_told_where_training_starts() -> None:
    data = pv.data.wrap(X.repeat(4, 1), validation=0.2)
    with pytest.raises(ValueError, match=r"the posterior of 'z' failed: .*; a part is called with values by name"):
        pv.fit(vae(posterior=TakesTensor()), data, epochs=1, device="cpu", progress=False)


def test_parts_that_say_nothing_of_what_they_read_are_taken() -> None:
    class Constant(nn.Module):
        def forward(self, values):  # type: ignore[no-untyped-def]
            return NORMAL(torch.zeros(3, 4))

    assert vae(posterior=Constant())({"x": X}).elbo.shape == (3,)


def test_a_law_is_asked_for_what_it_is_whatever_reads_it() -> None:
    class Mapped(nn.Module):
        given = "x"

        def forward(self, values: dict[str, Tensor]) -> Distribution:
            return NORMAL(values["x"])

    assert vae(posterior=Mapped())({"x": X}).elbo.shape == (3,)
