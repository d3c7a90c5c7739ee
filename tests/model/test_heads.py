"""What is explained: the value, weight and rows of each head, and which of two enters the bounds."""

from __future__ import annotations

import io

import torch
from rich.console import Console
from torch import nn

import polyvae as pv
from helpers.models import part
from polyvae.model.families.pixels import Bernoulli
from polyvae.model.families.real import DiagonalNormal, PixelNormal
from polyvae.model.priors.normal import StandardNormal
from polyvae.objectives.terms import Reconstruction


def test_heads_have_a_value_a_weight_and_rows_they_count_in() -> None:
    torch.manual_seed(0)
    heads = {
        "x": part("z", [2], 4),
        "again": pv.Head(part("z", [2], 4, PixelNormal("learned")), of="x", weight=0.25),
        "tags": pv.Head(part("z", [2], 3, Bernoulli()), of="t", weight=2.0, where="seen"),
    }
    model = pv.VAE(part("x", [4], 2), StandardNormal(2), heads)
    assert model.inputs == ("seen", "t", "x")
    assert model.conditions == ()
    seen = torch.tensor([True, False, True])
    draw = model({"x": torch.randn(3, 4), "t": torch.rand(3, 3).round(), "seen": seen}, 2)
    scores = {name: head.log_p for name, head in draw.heads.items()}
    z = draw.latents["z"].z
    for name, head in draw.heads.items():
        full = torch.stack([heads[name]({"z": z[k]}).log_prob(head.x) for k in range(2)])
        torch.testing.assert_close(scores[name], full * seen if name == "tags" else full)
    torch.testing.assert_close(draw.log_px, scores["x"] + scores["tags"])
    weighted = scores["x"] + 0.25 * scores["again"] + 2 * scores["tags"]
    torch.testing.assert_close(Reconstruction()(draw), -weighted)
    assert set(model.reconstruct({"x": torch.randn(3, 4)})) == set(heads)


def test_repr_shows_what_is_given_and_how_a_head_counts() -> None:
    text = repr(pv.VAE(part("x", [4], 2), StandardNormal(2), {"b": pv.Head(part("z", [2], 4), "x", 0.5, "seen")}))
    for piece in ("given=('x',)", "of='x', weight=0.5, where='seen'", "StandardNormal(2)", "DiagonalNormal"):
        assert piece in text


def test_rows_that_are_not_scored_may_hold_anything() -> None:
    net = nn.Linear(2, 3)
    head = pv.Head(pv.Conditional(net, Bernoulli(), given="z"), of="x", where="seen")
    q = pv.Conditional(nn.Linear(1, 4), DiagonalNormal(), given="u")
    x = torch.ones(4, 3)
    x[2] = torch.nan
    batch = {"x": x, "u": torch.randn(4, 1), "seen": torch.tensor([True, True, False, True])}
    draw = pv.VAE(q, StandardNormal(2), {"x": head})(batch, samples=3)
    draw.elbo.sum().backward()
    assert (draw.heads["x"].log_p[:, 2] == 0).all()
    assert net.weight.grad is not None
    assert net.weight.grad.isfinite().all()


def test_of_two_heads_of_one_value_the_first_enters_every_bound() -> None:
    torch.manual_seed(0)
    heads = {"x": part("z", [2], 4), "second": pv.Head(part("z", [2], 4), of="x", weight=3.0)}
    model = pv.VAE(part("x", [4], 2), StandardNormal(2), heads)
    batch = {"x": torch.randn(5, 4)}
    draw = model(batch, 2)
    assert draw.heads["second"].of == "x"
    assert model.bounded_given == ()
    assert torch.equal(draw.log_px, draw.heads["x"].log_p)
    chosen = {name: Reconstruction(heads=(name,))(draw) for name in heads}
    assert torch.equal(chosen["second"], -3 * draw.heads["second"].log_p)
    assert torch.allclose(Reconstruction()(draw), chosen["x"] + chosen["second"])
    alone = pv.VAE(model.posterior, model.prior, heads["x"])
    data = pv.data.wrap(batch, validation=1)
    both, one = (pv.evaluation.both_bounds(m, data.train, samples=3) for m in (model, alone))
    assert torch.equal(both.plain, one.plain)
    assert torch.equal(both.importance, one.importance)
    assert set(both.heads) == {"x", "second"}
    assert pv.evaluate(model, data.train, samples=3)["dimensions"] == 4


def test_what_the_bounds_are_conditional_on_is_named() -> None:
    prior, plain_head = part("y", [3], 2), part("z", [2], 4)
    seeing = pv.Head(part(("z", "m"), [2, 5], 4), of="x")
    q = part("x", [4], 2)
    assert pv.VAE(q, StandardNormal(2), {"x": plain_head, "x_given_m": seeing}).bounded_given == ()
    assert pv.VAE(q, StandardNormal(2), {"x_given_m": seeing, "x": plain_head}).bounded_given == ("m",)
    assert pv.VAE(q, prior, {"x": seeing}).bounded_given == ("m", "y")
    model = pv.VAE(q, prior, plain_head)
    data = pv.data.wrap({"x": torch.randn(6, 4), "y": torch.randn(6, 3)}, validation=1)
    report = pv.evaluate(model, data.train, samples=2, spec=data.spec)
    assert report["given"] == ["y"]
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(pv.evaluation.table(report))
    assert "plain bound on log p(x | y)" in console.export_text()
