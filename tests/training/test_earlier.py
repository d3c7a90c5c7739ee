"""Runs, completions and studies that earlier versions left are read as what they were."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import polyvae as pv
from helpers.runs import pictures, same, small, weights
from polyvae import study
from polyvae.cli import main
from polyvae.model.vae import Head
from polyvae.objectives.objective import Objective
from polyvae.study import Completed, Effort, Seen
from polyvae.study.completion.protocol import BEFORE
from polyvae.training.run import Run
from polyvae.training.store import RunError, read_description, write_description

FIT: dict[str, Any] = {"batch_size": 12, "seed": 3, "device": "cpu", "progress": False}


def rewritten(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Writes run.json as a version that knew less had written it."""
    held = read_description(folder)
    change(held)
    write_description(folder, held)


def test_analysers_of_before_there_was_direct_are_not_taken_for_trained_at_zero(tmp_path: Path) -> None:
    data = pictures(side=8)
    given = {"decoder": "analysers", "latent": 2, "widths": (4, 8)}
    recipe = pv.recipes.arbitrary_conditioning(data.spec, direct=0, seed=3, **given)
    made = pv.fit(recipe, data, tmp_path / "run", epochs=1, **FIT)
    x, mask = data.train.take(range(3)).tensors["x"].float() / 255, torch.ones(1, 1, 8, 8)
    mask[..., 4:] = 0
    expected = made.complete(x, mask, draws=3, seed=1).mean
    rewritten(tmp_path / "run", lambda held: held["recipe"]["options"].pop("direct"))
    assert "direct" not in (tmp_path / "run" / "run.json").read_text()
    loaded = Run.load(tmp_path / "run")
    (head,) = loaded.model.heads.values()
    assert isinstance(head, Head)
    assert not head.direct
    assert type(loaded.recipe.objective) is Objective
    assert torch.equal(loaded.complete(x, mask, draws=3, seed=1).mean, expected)
    again = pv.fit(
        pv.recipes.arbitrary_conditioning(data.spec, direct=0, seed=3, **given),
        data,
        tmp_path / "run",
        epochs=2,
        resume=True,
        **FIT,
    )
    assert [row["epoch"] for row in again.history] == [1, 2]
    now = pv.recipes.arbitrary_conditioning(data.spec, seed=3, **given)
    with pytest.raises(RunError, match="direct"):
        pv.fit(now, data, tmp_path / "run", epochs=3, resume=True, **FIT)


@pytest.mark.parametrize("decoder", ["analysers", "normal-law"])
def test_decoders_of_before_m_spoke_alone_are_those_trained_at_zero(decoder, tmp_path: Path) -> None:
    data = pictures(side=8)
    given = {"decoder": decoder, "latent": 2, "widths": (4, 8), "seed": 3}
    recipe = pv.recipes.arbitrary_conditioning(data.spec, direct=0.1, **given)
    made = pv.fit(recipe, data, tmp_path / "run", epochs=1, **FIT)
    x, mask = data.train.take(range(3)).tensors["x"].float() / 255, torch.ones(1, 1, 8, 8)
    expected = made.complete(x, mask, draws=3, seed=1).mean
    rewritten(tmp_path / "run", lambda held: held["recipe"]["options"].pop("direct"))
    loaded = Run.load(tmp_path / "run")
    (head,) = loaded.model.heads.values()
    assert isinstance(head, Head)
    assert head.direct
    assert torch.equal(loaded.complete(x, mask, draws=3, seed=1).mean, expected)


def test_decoders_of_now_have_a_network_of_m_alone(tmp_path: Path) -> None:
    data = pictures(side=8)
    recipe = pv.recipes.arbitrary_conditioning(data.spec, decoder="analysers", latent=2, widths=(4, 8), seed=3)
    pv.fit(recipe, data, tmp_path / "run", epochs=1, **FIT)
    assert list(Run.load(tmp_path / "run").model.heads) == ["x", "x_without_z"]


def test_a_setting_that_a_run_did_not_record_had_its_default(tmp_path: Path) -> None:
    data = pictures()
    pv.fit(small("vae", data), data, tmp_path / "run", epochs=1, **FIT)
    rewritten(tmp_path / "run", lambda held: [held["settings"].pop(name) for name in ("clock", "warmup")])
    with pytest.raises(RunError, match="warmup: 0 then, 1 now"):
        pv.fit(small("vae", data), data, tmp_path / "run", epochs=2, warmup=1, resume=True, **FIT)
    run = pv.fit(small("vae", data), data, tmp_path / "run", epochs=2, resume=True, **FIT)
    whole = pv.fit(small("vae", data), data, tmp_path / "whole", epochs=2, **FIT)
    assert same(weights(run.recipe), weights(whole.recipe))


def test_a_completion_of_codes_that_recorded_a_law_completes(tmp_path: Path) -> None:
    data = pictures(side=8)
    run = pv.fit(
        pv.recipes.vq_vae(data.spec, codes=4, dim=2, widths=(4, 8), seed=3), data, tmp_path / "run", epochs=1, **FIT
    )
    pv.fit_completion(run, data, epochs=1, widths=(4,), layers=2, **FIT)
    place = tmp_path / "run" / "completion"
    rewritten(place, lambda held: held["recipe"]["options"].update(law="autoregressive"))
    x = data.train.take(range(2)).tensors["x"].float() / 255
    assert Run.load(tmp_path / "run").complete(x, torch.ones(1, 1, 8, 8), draws=2).mean.shape == x.shape
    pv.fit_completion(Run.load(tmp_path / "run"), data, epochs=2, resume=True, **FIT)


def test_a_study_of_before_some_settings_is_told_and_gone_on_with(tmp_path: Path) -> None:
    out = tmp_path / "study"
    effort = Effort(epochs=1, limit=200, clock="wall")
    seen = Seen(points=(9,), test=8, held=8, draws=3, shown=0, steps=0)
    some = Completed("none", "linear", "digits")
    study.completion(some, out, effort=effort, seen=seen, device="cpu", progress=False)
    told = json.loads((out / "study.json").read_text())
    for name in BEFORE:
        del told["protocol"][name]
    (out / "study.json").write_text(json.dumps({name: value for name, value in told.items() if name != "sealed"}))
    assert main(["study", "completion", "--report-only", "--out", str(out)]) == 0
    more = Completed("none", "linear, nearest", "digits")
    found = study.completion(more, out, effort=effort, seen=seen, device="cpu", progress=False)
    assert {label for label, _ in found.records.rows} == {"linear", "nearest"}
