"""Where networks of modes start: at generalised canonical correlation analysis, told by closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

import polyvae as pv
from polyvae.recipes.canonical import FOLDS, Principal

SHAPES = {"flow": (2, 4, 3), "pressure": (1, 5, 2)}


def fields(rows: int = 60, hidden: int = 3, noise: float = 1e-3, seed: int = 0) -> dict[str, Tensor]:
    """Fields that are linear in a few common numbers."""
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(rows, hidden, generator=generator)
    maps = torch.Generator().manual_seed(7)
    made = {}
    for name, shape in SHAPES.items():
        x = z @ torch.randn(hidden, int(np.prod(shape)), generator=maps) + 2
        made[name] = (x + noise * torch.randn(x.shape, generator=generator)).unflatten(1, shape)
    return made


def data(**how) -> pv.data.Data:
    return pv.data.wrap(fields(**how), modalities=list(SHAPES))


def started(of: pv.data.Data, name: str = "mmvae", **options):
    made = getattr(pv.recipes, name)(of, **{"network": "modes", "likelihood": "normal-places", "latent": 3, **options})
    assert made.start is not None
    made.start(made.observe(of.train.batch(torch.arange(len(of.train)))))
    return made


def test_left_out_errors_are_those_of_fits_without_these_rows() -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(25, size, generator=generator).double() for size in (4, 3))
    errors = Principal.of(x).left_out(y, [0.0])[0]
    for row in (0, 7, 24):
        kept = torch.arange(25) % FOLDS != row % FOLDS
        ones = torch.ones(25, 1).double()
        slopes = torch.linalg.lstsq(torch.cat([x, ones], 1)[kept], y[kept]).solution
        torch.testing.assert_close(errors[row], y[row] - torch.cat([x, ones], 1)[row] @ slopes)


def test_a_ridge_shrinks_components_by_s_over_s_plus_r() -> None:
    x, y = (torch.randn(25, size).double() for size in (4, 3))
    one = Principal.of(x)
    r = 0.3 * one.values[0]
    root = one.axes.T @ one.values.diag() @ one.axes  # (X^T X)^(1/2) of centred rows
    centred = x - x.mean(0)
    expected = torch.linalg.solve(centred.T @ centred + r * root, centred.T @ y)
    torch.testing.assert_close(one.axes.T @ one.slopes(y, 0.3), expected)


def test_the_ridge_is_large_where_nothing_is_told_and_small_where_all_is() -> None:
    generator = torch.Generator().manual_seed(0)
    x = Principal.of(torch.randn(60, 5, generator=generator))
    exact = x.codes @ torch.randn(5, 2, generator=generator).double()
    noise = torch.randn(60, 2, generator=generator).double()
    assert x.best([exact]) < 1e-6 < x.best([noise])
    assert x.best([]) == 0


def test_an_untrained_model_tells_one_field_from_the_other_and_how_well() -> None:
    of = data()
    made = started(of)
    test = fields(400, seed=1)
    told = pv.translate(made, {"flow": test["flow"]}, "pressure", 200, quantiles=(0.025, 0.975))
    error = (told.mean - test["pressure"]).square().mean().sqrt()
    assert error < 3e-3, "fields have numbers of the order of 2 and noise of 1e-3"
    inside = (told.quantiles[0] <= test["pressure"]) & (test["pressure"] <= told.quantiles[1])
    assert inside.float().mean() > 0.94, "the spread of z comes on top of a scale that holds it already"
    assert (told.quantiles[1] - told.quantiles[0]).mean() < 10 * error, "and yet no band is wide"


def test_of_two_fields_alike_both_experts_say_the_principal_components() -> None:
    x = fields()["flow"]
    of = pv.data.wrap({"one": x, "other": x.clone()}, modalities=["one", "other"])
    made = started(of)
    train = of.train.batch(torch.arange(len(of.train)))
    laws = [expert(train) for expert in made.model.posterior["z"].experts.values()]
    torch.testing.assert_close(laws[0].mean, laws[1].mean, rtol=0, atol=0.05)
    z = laws[0].mean
    torch.testing.assert_close(z.T @ z / len(z), torch.eye(3), rtol=0, atol=0.05)


def test_rows_that_lack_a_modality_do_not_count() -> None:
    whole, values = data(), fields()
    more = {name: torch.cat([x, torch.full_like(x[:9], 100.0)]) for name, x in values.items()}
    there = torch.arange(69) < 60
    starts = []
    for batch, count in ((values, 60), (more, 69)):
        made = pv.recipes.mmvae(whole, network="modes", latent=3, seed=0)
        flags = {"flow_present": torch.ones(count, dtype=torch.bool), "pressure_present": there[:count]}
        made.start({**batch, **flags})
        starts.append(made.model.state_dict())
    assert all(torch.equal(starts[0][name], value) for name, value in starts[1].items())


def test_a_run_starts_there_and_is_kept_by_name(tmp_path) -> None:
    of = data()
    run = pv.fit(pv.recipes.mmvae(of, network="modes", latent=3, samples=1), of, tmp_path / "run", epochs=1, lr=1e-6)
    kept = pv.Run.load(tmp_path / "run")
    flow = {"flow": fields(5, seed=1)["flow"]}
    torch.testing.assert_close(
        kept.translate(flow, "pressure").mean, run.translate(flow, "pressure").mean, rtol=0, atol=0
    )


@pytest.mark.parametrize("name", ["mvae", "mopoe", "jmvae", "mvtcae", "mmvae_plus", "dmvae", "poise"])
def test_every_model_of_several_modalities_starts_and_trains(name) -> None:
    of = data()
    made = started(of, name)
    values = made.objective(made.model, made.observe(of.train.batch(torch.arange(8))))
    values["loss"].backward()
    assert values["loss"].isfinite()


def test_what_is_no_real_number_and_too_few_rows_are_refused() -> None:
    grey = pv.data.wrap({"a": torch.rand(40, 1, 8, 8), "b": torch.rand(40, 1, 8, 8)}, modalities=["a", "b"])
    if all(each.grey for each in grey.spec.values.values()):
        with pytest.raises(ValueError, match="modes are of real numbers"):
            pv.recipes.mmvae(grey, network="modes")
    of = data()
    made = pv.recipes.mmvae(of, network="modes")
    with pytest.raises(ValueError, match="at least 4; these are 3"):
        made.start(made.observe(of.train.batch(torch.arange(3))))
