"""Recipes of several modalities: what they are built of by default, and what is refused before anything is trained."""

from __future__ import annotations

import pytest

from polyvae.model.families.real import Laplace
from polyvae.model.spec import Modality, Spec
from polyvae.recipes import named

SPEC = Spec(levels=None, modalities=(Modality("grey", Spec((1, 8, 8))), Modality("row", Spec((3,), levels=None))))


@pytest.mark.parametrize("name", ["mvae", "mopoe", "jmvae", "mvtcae", "dmvae"])
def test_experts_that_are_multiplied_are_normal(name: str) -> None:
    with pytest.raises(ValueError, match=f"expert: {name} multiplies its experts.*mmvae and mmvae_plus"):
        named(name)(SPEC, expert="laplace")


@pytest.mark.parametrize("name", ["mmvae", "mmvae_plus"])
def test_experts_that_are_mixed_may_be_laplace(name: str) -> None:
    named(name)(SPEC, expert="laplace")


@pytest.mark.parametrize("name", ["mvae", "mmvae", "poise"])
def test_grey_levels_have_a_scale_that_is_learned(name: str) -> None:
    model = named(name)(SPEC).model
    family = model.heads["grey"].likelihood.family
    assert isinstance(family, Laplace)
    assert any(parameter.requires_grad for parameter in family.parameters())
