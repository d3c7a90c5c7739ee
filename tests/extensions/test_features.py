"""Deterministic values that parts share: computed once, as soon as what they read is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import polyvae as pv
from polyvae.model.networks import mlp
from polyvae.model.parts import Feature
from polyvae.model.priors.normal import StandardNormal

NORMAL = pv.families.DiagonalNormal()


class Counted(nn.Module):
    """A network that counts its calls and the rows of each."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.rows = net, []

    def forward(self, *inputs: Tensor) -> Tensor:
        self.rows.append(len(inputs[0]))
        return self.net(*inputs)


def ladder(groups: int = 10, width: int = 6, latent: int = 2, hidden: int = 4) -> tuple[pv.VAE, Counted, list[Counted]]:
    """z_1 ... z_n on a top-down path h_1 ... h_n; q reads the encoder's e and h_i, p reads h_i.

    Sonderby, Raiko, Maaloe, Sonderby, Winther: Ladder Variational Autoencoders, 2016.
    """
    torch.manual_seed(0)
    encoder = Counted(mlp([(width,)], (hidden,), (5,)))
    features: dict[str, nn.Module] = {"e": Feature(encoder, "x")}
    posteriors: dict[str, nn.Module] = {}
    priors: dict[str, nn.Module] = {"z1": StandardNormal(latent)}
    paths = []
    for i in range(1, groups + 1):
        if i > 1:
            given = (f"z{i - 1}",) if i == 2 else (f"h{i - 1}", f"z{i - 1}")
            shapes = [(latent,)] if i == 2 else [(hidden,), (latent,)]
            paths.append(Counted(mlp(shapes, (hidden,), (5,))))
            features[f"h{i}"] = Feature(paths[-1], given)
            priors[f"z{i}"] = pv.Conditional(mlp([(hidden,)], (2 * latent,), (5,)), NORMAL, f"h{i}")
        reads = ("e",) if i == 1 else ("e", f"h{i}")
        posteriors[f"z{i}"] = pv.Conditional(mlp([(hidden,)] * len(reads), (2 * latent,), (5,)), NORMAL, reads)
    last = (f"h{groups}", f"z{groups}")
    head = pv.Conditional(mlp([(hidden,), (latent,)], (2 * width,), (5,)), NORMAL, last)
    return pv.VAE(posteriors, priors, head, features=features), encoder, paths


@pytest.mark.parametrize("samples", [1, 3])
def test_a_ladder_of_ten_groups_costs_one_pass_of_the_encoder(samples: int) -> None:
    model, encoder, paths = ladder()
    draw = model({"x": torch.randn(5, 6)}, samples)
    assert encoder.rows == [5]  # once, at the rows of the batch, however many draws there are
    assert [path.rows for path in paths] == [[5 * samples]] * 9
    assert list(draw.latents) == [f"z{i}" for i in range(1, 11)]
    assert all(latent.analytic for latent in draw.latents.values())
    draw.elbo.sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_the_bound_of_a_ladder_is_that_of_the_same_parts_without_features() -> None:
    model, encoder, paths = ladder(groups=2)
    plain_q2 = model.posterior["z2"]

    class Inner(nn.Module):
        given = ("x", "z1")

        def forward(self, values: pv.Values) -> torch.distributions.Distribution:
            return plain_q2({"e": encoder(values["x"]), "h2": paths[0](values["z1"])})

    class First(nn.Module):
        given = ("x",)

        def forward(self, values: pv.Values) -> torch.distributions.Distribution:
            return model.posterior["z1"]({"e": encoder(values["x"])})

    class Below(nn.Module):
        given = ("z1",)

        def __init__(self, part: nn.Module) -> None:
            super().__init__()
            self.part = part

        def forward(self, values: pv.Values) -> torch.distributions.Distribution:
            return self.part({**values, "h2": paths[0](values["z1"])})

    class Head(Below):
        given = ("z1", "z2")

    other = pv.VAE(
        {"z1": First(), "z2": Inner()},
        {"z1": model.prior["z1"], "z2": Below(model.prior["z2"])},
        Head(model.heads["x"].likelihood),
    )
    x = {"x": torch.randn(4, 6)}
    torch.manual_seed(1)
    mine = model(x, 3).elbo
    torch.manual_seed(1)
    torch.testing.assert_close(mine, other(x, 3).elbo)


def test_features_are_computed_wherever_they_are_read() -> None:
    model, encoder, _ = ladder(groups=3)
    x = torch.randn(4, 6)
    assert model.inputs == ("x",)
    assert model.conditions == ()
    assert model.reconstruct({"x": x})["x"].batch_shape == (4,)
    calls = len(encoder.rows)
    assert model.generate(count=5)["x"].batch_shape == (5,)
    assert len(encoder.rows) == calls  # nothing reads x to generate
    z = model.sample_latents(count=2)
    assert model.decode({name: z[name] for name in ("z1", "z2", "z3")})["x"].batch_shape == (2,)


def test_a_ladder_trains_is_saved_and_resumed(tmp_path) -> None:
    torch.manual_seed(0)
    data = pv.data.wrap(torch.randn(120, 6) @ torch.randn(6, 6))
    first = pv.fit(ladder(3)[0], data, tmp_path / "a", epochs=2, device="cpu", progress=False)
    pv.fit(ladder(3)[0], data, tmp_path / "b", epochs=1, device="cpu", progress=False)
    again = pv.fit(ladder(3)[0], data, tmp_path / "b", resume=True, epochs=2, device="cpu", progress=False)
    for name, tensor in first.model.state_dict().items():
        assert torch.equal(tensor, again.model.state_dict()[name])
    assert first.history[-1]["validation_bound"] > -1e4


def test_features_are_computed_anew_for_other_values() -> None:
    model, _, _ = ladder(groups=3)
    x, other = torch.randn(4, 6), torch.randn(4, 6)
    draw = model({"x": x})
    again = draw.encode({**draw.values, "x": other})["z1"].mean
    torch.testing.assert_close(again, model.encode({"x": other})["z1"].mean)
    z = model.sample_latents(count=2)
    moved = {**z, "z1": z["z1"] + 1}
    plain = {name: moved[name] for name in ("z1", "z2", "z3")}
    torch.testing.assert_close(model.decode(moved)["x"].mean, model.decode(plain)["x"].mean)


def test_a_traversal_moves_what_is_below_through_a_feature() -> None:
    torch.manual_seed(0)
    model, _, _ = ladder(groups=2)
    split = pv.data.wrap(torch.randn(60, 6)).train
    for example in (None, 1):
        strips = pv.figures.traversals(model, split, "z1", steps=3, example=example)
        assert np.ptp(np.asarray(strips.pictures), 1).max() > 0


def test_a_start_leaves_frozen_parts_in_evaluation_mode() -> None:
    model, _, _ = ladder(groups=2)
    model.train()
    model.prior.eval()
    model.start({"x": torch.randn(4, 6)})
    assert model.training
    assert not model.prior.training


def test_a_completion_computes_the_features_that_its_decoder_reads() -> None:
    torch.manual_seed(0)
    x, net = torch.rand(8, 1, 4, 4), mlp([(2, 4, 4)], (3,), (5,))
    q = pv.Conditional(mlp([(1, 4, 4)], (4,), (5,)), NORMAL, "x")
    p = pv.Conditional(mlp([(2,), (3,)], (1, 4, 4), (5,)), pv.families.PixelNormal(0.5), ("z", "h"))
    recipe = pv.Recipe(
        pv.VAE(q, StandardNormal(2), p, features={"h": Feature(net, "m")}),
        pv.Objective(),
        pv.masks.observation("uniform", 3),
    )

    class Whole(nn.Module):
        given = ("z", "m")

        def forward(self, values: pv.Values) -> torch.distributions.Distribution:
            return p({**values, "h": net(values["m"])})

    plain = pv.Recipe(pv.VAE(q, StandardNormal(2), Whole()), pv.Objective(), recipe.observe)
    mask = torch.zeros(8, 1, 4, 4)
    mask[..., 1:3] = 1
    found, known = (pv.complete(each, x, mask, draws=20) for each in (recipe, plain))
    torch.testing.assert_close(found.mean, known.mean)
    torch.testing.assert_close(found.std, known.std)


def test_features_that_wait_for_each_other_or_for_nobody_are_named() -> None:
    net = nn.Linear(2, 2)
    q = pv.Conditional(mlp([(2,)], (4,), (5,)), NORMAL, "h")
    p = pv.Conditional(mlp([(2,)], (4,), (5,)), NORMAL, "z")
    with pytest.raises(ValueError, match=r"each waits for another"):
        pv.VAE(q, StandardNormal(2), p, features={"h": Feature(net, "g"), "g": Feature(net, "h")})
    with pytest.raises(ValueError, match=r"the posterior of 'z' is given \['z'\], not drawn before it"):
        pv.VAE(q, StandardNormal(2), p, features={"h": Feature(net, "z")})
    with pytest.raises(ValueError, match=r"no part reads the features \['unread'\]"):
        pv.VAE(q, StandardNormal(2), p, features={"h": Feature(net, "x"), "unread": Feature(net, "x")})
    with pytest.raises(ValueError, match=r"\['z'\] name both a latent and a feature"):
        pv.VAE(q, StandardNormal(2), p, features={"h": Feature(net, "x"), "z": Feature(net, "x")})


def test_what_parts_offer_is_checked_by_the_contract() -> None:
    class Wrong(nn.Module):
        given, start = ("x",), 3

    with pytest.raises(TypeError, match="the posterior of 'z': start is a method by the contract of parts; got 3"):
        pv.VAE(Wrong(), StandardNormal(2), StandardNormal(2))
    with pytest.raises(TypeError, match=r"the prior of 'z' is a torch.nn.Module that is called with values; got a str"):
        pv.VAE(StandardNormal(2), {"z": "standard"}, StandardNormal(2))  # pyright: ignore
