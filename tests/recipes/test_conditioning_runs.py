"""Recipes that see an observation: their options, and what happens to them in a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import polyvae as pv
from helpers.observing import NAMES, batch, made
from helpers.runs import pictures, same, small, timeless, weights
from helpers.waiting import Watch
from polyvae.cli.options import options_of
from polyvae.model.families.real import PixelNormal
from polyvae.observe.masks import Constant, LogUniform, PowerLaw, observation
from polyvae.recipes import RECIPES
from polyvae.recipes.options import CHOICES
from polyvae.training.devices import fabric_of
from polyvae.training.loop import Loop
from polyvae.training.settings import Settings


@pytest.mark.parametrize("name", ["multitask", "vq_multitask"])
def test_a_run_stopped_at_any_step_draws_the_same_masks_and_factors(name, tmp_path: Path) -> None:
    data = pictures(side=8)
    options = {"epochs": 2, "batch_size": 12, "lr": 1e-2, "device": "cpu", "progress": False}

    def train(folder: str, **more: Any) -> pv.Run:
        recipe = made(name, data.spec, exponent=2.0, softadapt=True, softadapt_window=2, softadapt_beta=5.0)
        return pv.fit(recipe, data, tmp_path / folder, **options, **more)

    whole = train("whole")
    for step in (1, 3, 6):
        train(str(step), max_steps=step)
        again = train(str(step), resume=True)
        assert same(weights(again.recipe), weights(whole.recipe)), f"stopped after step {step}"
        assert timeless(again.history) == timeless(whole.history)


@pytest.mark.parametrize("name", NAMES)
def test_no_step_waits_for_the_device(name) -> None:
    data = pictures(side=8)
    options = {"exponent": 3.0, **({"softadapt": True} if "multitask" in name else {})}
    settings = Settings(device="cpu", batch_size=12)
    loop = Loop(fabric_of(settings), made(name, data.spec, **options), data, settings, None)
    loop.meter.look = 50  # as on an accelerator
    loop.plain.train()
    watch = Watch()
    with watch:
        for _ in range(2):
            for place in loop.slices:
                loop._step(torch.arange(len(data.train))[place])
    assert watch.seen == []


@pytest.mark.parametrize("name", NAMES)
def test_every_option_says_what_it_is(name) -> None:
    options = options_of(RECIPES[name], CHOICES)
    assert {"decoder", "mask", "count", "exponent", "positions"} <= {option.name for option in options}
    assert not [option.name for option in options if not option.help]


def test_masks_come_as_the_options_say() -> None:
    assert made("semi_conditional").observe == observation("uniform", 0.05)
    assert made("semi_conditional", (6,), widths=(4,)).observe == observation("uniform", 0.5)
    assert made("semi_conditional", count=7).observe.count == Constant(7)
    assert made("multitask", exponent=5.0).observe.count == PowerLaw(5.0)
    assert made("vq_multitask", decoders=1, exponent=60.0, mask="gaussian").observe.count == PowerLaw(60.0)
    assert made("multitask", decoders=1, mask="grid", count=16).observe == observation("grid", 16, 40.0)
    assert made("arbitrary_conditioning").observe.count == LogUniform(0)
    assert made("arbitrary_conditioning", (6,), widths=(4,)).observe.count == PowerLaw(1.0)
    flat, pairs = (
        made("semi_conditional", mask="points", positions=at).observe for at in ((1, 2, 5, 7), ((1, 2), (5, 7)))
    )
    assert flat == pairs
    assert batch(made("semi_conditional", mask="points", positions=(1, 2, 5, 7)))["m"][0, 1].nonzero().tolist() == [
        [1, 2],
        [5, 7],
    ]


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("multitask", {"decoders": 3}, "decoders is a whole number from 1 to 2; got 3"),
    ("multitask", {"w1": -1.0}, r"w1 is a number of at least 0; got -1.0"),
    ("multitask", {"decoders": 1, "softadapt": True}, "w2 and softadapt balance two decoders"),
    ("vq_multitask", {"decoders": 1, "w2": 2.0}, "w2 and softadapt balance two decoders"),
    ("multitask", {"decoders": 1, "count": 9}, "masks of random size, which an exponent draws; got count = 9"),
    (
        "semi_conditional",
        {"count": 9, "exponent": 2.0},
        "count and exponent exclude each other, fixed or drawn; got 9 and 2.0",
    ),
    ("semi_conditional", {"decoder": "map"}, "decoder is one of flat, multiscale, analysers, normal-law; got 'map'"),
    ("vq_semi_conditional", {"decoder": "map"}, "decoder is one of flat, multiscale, analysers, normal-law; got 'map'"),
    ("semi_conditional", {"mask": "points", "positions": (1, 2, 3)}, "row,column,row,column...; got an odd number, 3"),
    ("arbitrary_conditioning", {"prior_network": "conv"}, "prior_network is one of encoder, perceptron; got 'conv'"),
]


@pytest.mark.parametrize(("name", "options", "message"), REFUSED)
def test_what_makes_no_sense_is_refused(name, options, message) -> None:
    with pytest.raises(ValueError, match=message):
        made(name, **options)


def test_any_bound_trains_a_decoder_that_sees() -> None:
    for name in ("semi_conditional", "arbitrary_conditioning"):
        recipe = made(name, objective=pv.ImportanceWeighted(3))
        values = recipe.objective(recipe.model, batch(recipe))
        assert values["bound"] <= -values["loss"] + 1e-3
    assert made("semi_conditional", posterior="point").monitor == "reconstruction"
    assert small("vae", pictures()).monitor == made("multitask").monitor == "bound"


def test_decoders_may_be_given_a_family_and_do_not_share_it() -> None:
    given = PixelNormal("learned")
    heads = made("multitask", likelihood=given).model.heads
    families = [heads[name].likelihood.family for name in heads]
    assert len({id(family) for family in (*families, given)}) == 3
    own = [{p.data_ptr() for p in head.parameters()} for head in heads.values()]
    assert not own[0] & own[1]
