"""What cannot be trained is refused with the reason."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import polyvae as pv
from helpers.runs import pictures, small
from polyvae.data import wrap


def test_what_cannot_be_trained_is_refused_with_the_reason() -> None:
    data = pictures()
    recipe = small("vae", data)
    with pytest.raises(ValueError, match=r"the model needs \['y'\], the data hold \['x'\]"):
        pv.fit(_needs_y(data), data)
    with pytest.raises(ValueError, match="validation part of the data is empty"):
        pv.fit(recipe, wrap(torch.rand(20, 1, 4, 4), validation=0))
    with pytest.raises(TypeError, match="no setting is named 'epoch'; did you mean epochs"):
        pv.fit(recipe, data, epoch=3)
    with pytest.raises(ValueError, match="need a run folder"):
        pv.fit(recipe, data, resume=True)
    with pytest.raises(ValueError, match="need a run folder"):
        pv.fit(recipe, data, tensorboard=True)
    with pytest.raises(ValueError, match="fp16 needs a GPU"):
        pv.fit(recipe, data, device="cpu", precision="fp16")
    with pytest.raises(ValueError, match="no parameter"):
        pv.fit(replace(recipe, model=recipe.model.requires_grad_(False)), data)


def _needs_y(data: Any) -> pv.Recipe:
    labelled = pictures(labels=True)
    recipe = pv.recipes.cvae(labelled.spec, seed=0, network="mlp", latent=2)
    return replace(recipe, observe=small("vae", data).observe)


def test_an_objective_without_the_monitored_value_is_refused_at_the_first_step() -> None:
    class Bare(nn.Module):
        def forward(self, model: Any, batch: Any, step: Any = 0) -> dict[str, Tensor]:
            return {"loss": -model(batch).log_px.mean()}

    data = pictures()
    with pytest.raises(ValueError, match=r"training needs \['bound'\] too"):
        pv.fit(replace(small("vae", data), objective=Bare()), data, progress=False)
