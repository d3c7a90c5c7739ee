"""Perceptrons read grey pictures less the mean of the training examples."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import polyvae as pv
from polyvae.model.networks.prepared import Centre, centring
from polyvae.model.priors.normal import StandardNormal

SPEC = pv.Spec((2, 3, 4))


def pictures(count: int = 200, shape: tuple[int, ...] = SPEC.x) -> torch.Tensor:
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(0)).square() / 2


def begun(name: str, x: torch.Tensor, **options: Any) -> pv.Recipe:
    made = getattr(pv.recipes, name)(SPEC, **{"network": "mlp", "latent": 3, "widths": (6,), "seed": 0, **options})
    assert made.start is not None
    made.start(made.observe({"x": x}))
    return made


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("vae", {}),
        ("semi_conditional", {"decoder": "flat"}),
        ("arbitrary_conditioning", {"decoder": "flat"}),
        ("two_level", {"top": 2}),
        ("vamp_prior", {"components": 5}),
        ("vae", {"posterior": "iaf", "network": "mlp-tanh"}),
        ("incomplete", {"missing": "network"}),
    ],
)
@given(shift=st.floats(0.05, 0.5), rows=st.integers(1, 40))
def test_a_shift_of_all_pictures_leaves_every_posterior_where_it_was(
    name: str, options: dict[str, Any], shift: float, rows: int
) -> None:
    """q(z | x) after a start at x is q(z | x + c) after one at x + c, whatever else the recipe starts."""
    x = pictures(rows)
    found = []
    for values in (x, x + shift):
        made = begun(name, values, **options)
        observed = {**made.observe({"x": values})}
        observed["m"] = torch.zeros(rows, 3, 3, 4)  # nothing seen, which is not shifted
        found.append(made.model.eval().centres(observed))
    for latent, centre in found[0].items():
        torch.testing.assert_close(centre, found[1][latent], rtol=1e-4, atol=1e-5)


def test_the_posterior_is_the_network_of_the_picture_less_the_mean_picture() -> None:
    x = pictures()
    q = begun("vae", x).model.posterior["z"]
    (layer,) = centring(q)
    torch.testing.assert_close(layer.mean, x.mean(0))
    torch.testing.assert_close(q({"x": x}).mean, q.family(q.net.net(x - x.mean(0))).mean)


@pytest.mark.parametrize(
    ("spec", "options", "why"),
    [
        (pv.Spec((1, 4, 4), levels=2), {"network": "mlp"}, "bits are read as they are"),
        (pv.Spec((1, 4, 4)), {"network": "conv"}, "layers of convolutions are normalised"),
        (pv.Spec((5,), levels=None), {"network": "mlp"}, "tables are standardised by their columns"),
        (pv.Spec((1, 4, 4), columns=(pv.Column("real"),)), {"network": "mlp"}, "fields are, too"),
    ],
)
def test_what_else_is_read_has_no_mean_taken_off(spec: pv.Spec, options: dict[str, Any], why: str) -> None:
    assert not centring(pv.recipes.vae(spec, latent=2, widths=(4,), **options).model), why


def test_a_run_keeps_the_mean_of_its_training_part_through_loading_and_resuming(tmp_path) -> None:
    data, settings = pv.data.wrap(pictures(), validation=40), {"device": "cpu", "progress": False}
    made = pv.recipes.vae(data, network="mlp", latent=3, widths=(6,), seed=0)
    pv.fit(made, data, tmp_path / "run", epochs=1, **settings)
    (layer,) = centring(made.model)
    torch.testing.assert_close(layer.mean, data.train.batch(torch.arange(len(data.train)))["x"].mean(0))
    again = pv.recipes.vae(data, network="mlp", latent=3, widths=(6,), seed=0)
    resumed = pv.fit(again, data, tmp_path / "run", epochs=2, resume=True, **settings)
    for model in (resumed.model, pv.Run.load(tmp_path / "run").model):
        assert torch.equal(centring(model)[0].mean, layer.mean)


def test_what_is_not_seen_counts_in_no_mean_and_is_read_as_it() -> None:
    x = (0.8 + pictures() / 10).clamp(max=1)
    hidden = torch.rand(x.shape, generator=torch.Generator().manual_seed(1)) < 0.5
    gaps = x.masked_fill(hidden, torch.nan)
    for options in ({}, {"read_mask": True}, {"missing": "network"}):
        made = begun("incomplete", gaps, **options)
        for layer in centring(made.model):
            torch.testing.assert_close(layer.mean, gaps.nanmean(0))
        read = centring(made.model.posterior["z"])[0](made.observe({"x": gaps})["x"])
        assert not read[hidden].any()
        again: Any = pickle.loads(pickle.dumps(made))  # as it goes to other processes
        assert torch.equal(again.observe({"x": gaps})["x"], made.observe({"x": gaps})["x"])


@pytest.mark.parametrize(
    ("name", "options"),
    [("vae", {}), ("vamp_prior", {"components": 5}), ("exemplar_prior", {"components": 5})],
)
def test_what_has_learned_is_not_started_again_where_it_is_trained_on_with_other_pictures(
    tmp_path: Path, name: str, options: dict[str, Any]
) -> None:
    made = getattr(pv.recipes, name)(SPEC, network="mlp", latent=3, widths=(6,), seed=0, **options)
    how: dict[str, Any] = {"epochs": 1, "lr": 1e-12, "device": "cpu", "progress": False}
    run = pv.fit(made, pictures(), tmp_path / "run", **how)
    before = {key: tensor.clone() for key, tensor in run.model.state_dict().items()}
    for again in (made, pv.Run.load(tmp_path / "run").recipe):
        found = pv.fit(again, 1 - pictures(), **how).model.state_dict()
        assert all(torch.allclose(found[key], tensor, atol=1e-6) for key, tensor in before.items())
    new = getattr(pv.recipes, name)(SPEC, network="mlp", latent=3, widths=(6,), seed=0, **options)
    assert not torch.allclose(centring(pv.fit(new, 1 - pictures(), **how).model)[0].mean, centring(run.model)[0].mean)


def test_a_network_of_ones_own_that_ends_in_a_perceptron_reads_pictures_as_they_are() -> None:
    def build(inputs: Any, output: Any) -> torch.nn.Module:
        if len(inputs[0]) < 3:
            return pv.networks.mlp(inputs, output)
        return torch.nn.Sequential(torch.nn.Conv2d(2, 4, 3, padding=1), pv.networks.mlp([(4, 3, 4)], output))

    assert not centring(pv.recipes.vae(SPEC, network=build, latent=3).model)


def test_a_bare_model_with_such_a_layer_starts_it(tmp_path) -> None:
    posterior = pv.recipes.vae(SPEC, network="mlp", latent=3, widths=(6,), seed=0).model.posterior["z"]
    decoder = pv.Conditional(pv.networks.mlp([(3,)], SPEC.x), pv.families.PixelNormal(0.5), "z")
    model = pv.VAE(posterior, StandardNormal(3), decoder)
    assert model.starts
    pv.fit(model, pictures(), epochs=1, device="cpu", progress=False)
    assert (centring(model)[0].mean - pictures().mean(0)).abs().max() < 0.05  # of the training part, which is not all


def test_a_pseudo_input_goes_back_to_a_picture() -> None:
    x = pictures()
    prior: Any = begun("vamp_prior", x, components=7).model.prior["z"]
    torch.testing.assert_close(prior.pseudo_inputs["x"] + x.mean(0), x[:7])


def test_a_batch_of_half_precision_has_its_mean_taken_in_full() -> None:
    layer = Centre((1, 2, 2))
    layer.start({"x": torch.full((3000, 1, 2, 2), 0.1, dtype=torch.float16)})
    torch.testing.assert_close(layer.mean, torch.full((1, 2, 2), 0.1), rtol=1e-3, atol=0)
