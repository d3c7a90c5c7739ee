"""The usual report on a model of several modalities says of which one its errors are."""

from __future__ import annotations

import torch

import polyvae as pv
from helpers.contract import examples, several
from polyvae.data import wrap


def test_errors_of_several_modalities_are_of_the_first_and_codes_have_none() -> None:
    column = pv.Column("category", labels=("p", "q", "r"))
    spec = several(names=pv.Spec((2,), levels=None, columns=(column, column)), far=pv.Spec((3,), levels=None))
    made = pv.recipes.mvae(spec, latent=2, seed=0)
    values = {**examples(spec), "names": torch.arange(24).view(12, 2).remainder(3).float()}
    report = pv.evaluate(made, pv.data.Split(values), samples=3, spec=spec)
    assert report["mse"] is None
    assert any("names holds categories" in note for note in report["notes"])
    plain = several(near=pv.Spec((1, 8, 8)), far=pv.Spec((3, 6, 6)))
    values = {name: value for name, value in examples(plain).items() if not name.endswith("_present")}
    data = wrap(values, modalities=["near", "far"], validation=3)
    report = pv.evaluate(pv.recipes.mvae(data.spec, latent=2, seed=0), data, samples=3)
    assert report["mse"] > 0
    assert any("mse, psnr, ssim: of near, the first modality" in note for note in report["notes"])
