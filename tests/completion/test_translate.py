"""Modalities made of others: against the law that is known, with what is seen in part, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Independent, Normal

import polyvae as pv
from helpers.modalities import spec
from polyvae.completion.predictive import predicted
from polyvae.data import wrap
from polyvae.model.distributions.experts import Strata

NAMES = ("a", "b")


def values(rows: int = 60) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(rows, 1, generator=generator)
    a = z + 0.1 * torch.randn(rows, 3, generator=generator)
    b = -z + 0.1 * torch.randn(rows, 4, generator=generator)
    return {"a": a, "b": b, "y": torch.arange(rows) % 3}


@pytest.fixture(scope="module", params=["mmvae", "mvae"])
def run(request: pytest.FixtureRequest) -> pv.Run:
    data = wrap(values(), validation=12, test=0, modalities=list(NAMES))
    made = pv.recipes.named(request.param)(data.spec, latent=2, seed=0)
    return pv.fit(made, data, epochs=60, batch_size=16, lr=1e-2, device="cpu", progress=False)


def test_a_translation_is_the_law_of_total_variance_over_draws_of_the_latents(run: pv.Run) -> None:
    a = values()["a"][:5]
    found = run.translate({"a": a}, "b", draws=4000)
    assert found.samples.shape == (4000, 5, 4)
    torch.testing.assert_close(found.mean, found.samples.mean(0), atol=1e-5, rtol=1e-4)
    batch = run.recipe.observe({"a": a})
    torch.manual_seed(1)
    with torch.no_grad():
        draw = run.model.infer(batch, 4000)
        law = run.model.decode(draw.values)["b"]
        means, noise = law.mean.unflatten(0, (4000, 5)), law.variance.unflatten(0, (4000, 5))
    wanted = (means.var(0) + noise.mean(0)).sqrt()
    torch.testing.assert_close(found.std, wanted, rtol=0.08, atol=0)
    torch.testing.assert_close(found.mean, means.mean(0), atol=0.12, rtol=0)
    assert torch.equal(run.translate({"a": a}, "b", draws=4000).mean, found.mean)


def test_what_is_made_follows_what_is_given(run: pv.Run) -> None:
    a = torch.tensor([[1.5, 1.5, 1.5], [-1.5, -1.5, -1.5]])
    made = run.translate({"a": a.numpy()}, "b", draws=50)
    assert isinstance(made.mean, np.ndarray)
    assert made.mean[0].mean() < -0.4
    assert made.mean[1].mean() > 0.4


def test_values_seen_in_part_move_the_answer_and_the_rest_of_them_may_be_anything(run: pv.Run) -> None:
    held = values()
    a, b = held["a"][:6], held["b"][:6].clone()
    mask = torch.tensor([[True, False, False, False]])
    plain = run.translate({"a": a}, "b", draws=200)
    seen = run.translate({"a": a, "b": b + 2}, "b", draws=200, masks={"b": mask})
    assert float((seen.mean - plain.mean).mean()) > 0.05
    assert bool((seen.effective < 2000).all())
    junk = torch.where(mask, b + 2, torch.nan)
    torch.testing.assert_close(run.translate({"a": a, "b": junk}, "b", draws=200, masks={"b": mask}).mean, seen.mean)


def test_a_modality_that_a_row_lacks_is_not_seen_where_a_mask_covers_it(run: pv.Run) -> None:
    held = values()
    a, b = held["a"][:4], held["b"][:4].clone()
    b[0] = torch.nan
    mask = {"b": torch.tensor([[True, True, False, False]])}
    there = {"b_present": torch.tensor([False, True, True, True])}
    found = run.translate({"a": a, "b": b, **there}, "b", draws=500, masks=mask)
    alone = run.translate({"a": a[:1]}, "b", draws=500)
    torch.testing.assert_close(found.mean[0], alone.mean[0], atol=0.3, rtol=0)
    zeros = run.translate({"a": a[:1], "b": torch.zeros(1, 4)}, "b", draws=500, masks=mask)
    assert found.effective[0] > 1.5 * zeros.effective[0]


def test_draws_of_several_experts_come_in_no_order() -> None:
    data = wrap(values(), validation=12, test=0, modalities=list(NAMES))
    made = pv.recipes.mmvae(spec(("a", "b", "c")), latent=2, seed=0)
    source = pv.Run(made, description={"spec": spec(("a", "b", "c")).to_dict()})
    with torch.no_grad():
        for number, name in enumerate(("a", "b")):
            expert = made.model.posterior["z"].experts[name]
            expert.net.layers[-1].bias[:2] = 30.0 * (2 * number - 1)
    given = {"a": data.train.tensors["a"][:8], "b": data.train.tensors["b"][:8]}
    samples: Tensor = source.translate(given, "c", draws=100).samples
    first, second = samples[:50].mean(0), samples[50:].mean(0)
    spread = samples.std(0)
    assert float(((first - second).abs() / spread).mean()) < 0.5


def test_what_cannot_be_translated_is_refused_by_name(run: pv.Run) -> None:
    held = values()
    a, b = held["a"][:3], held["b"][:3]
    for call, said in (
        (lambda: run.translate({"a": a}, "bb"), "the modalities are a, b; got 'bb'"),
        (lambda: run.translate({"a": a}, "a"), "'a' is given, and asked for"),
        (lambda: run.translate({"a": a, "b": b}), "nothing is left to translate to"),
        (lambda: run.translate(a, "b"), "modalities are given by name"),
        (lambda: run.translate({"a": a}, "b", masks={"b": torch.ones(1, 4)}), "'b' is not"),
        (lambda: run.translate({"a": a, "b": b}, "b", masks={"b": torch.ones(1, 3)}), "the mask of 'b' is"),
        (lambda: run.translate({"a": a, "b": b}, "b", masks={"b": torch.full((1, 4), 2)}), "is 1 where"),
        (lambda: run.translate({"a": a}, "b", use_x=True), "are for completions of one x"),
        (lambda: run.complete(a), "several modalities"),
        (lambda: run.impute({"a": a}), "several modalities; what is missing of them run.translate makes"),
    ):
        with pytest.raises(ValueError, match=said):
            call()
    with pytest.raises(ValueError, match="one x"):
        pv.translate(pv.recipes.vae((4,), latent=2), {"a": a}, "b")


def test_codes_of_a_split_are_not_read_as_labels() -> None:
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(0, 3, (300, 1), generator=generator)
    shown = {"tab": codes + 1, "size": 4.0 * codes + 0.1 * torch.randn(300, 1, generator=generator)}
    data = wrap(shown, modalities=["tab", "size"], kind={"tab": "category", "size": "real"})
    run = pv.fit("mvtcae", data, epochs=60, batch_size=32, lr=5e-3, device="cpu", progress=False)
    split = data.test
    of_split, of_data = (run.translate(given, "size", draws=50) for given in (split, data))
    labels = split.tensors["tab"] + 1
    of_labels = run.translate({"tab": labels}, "size", draws=50)
    torch.testing.assert_close(torch.as_tensor(of_split.mean), torch.as_tensor(of_labels.mean))
    torch.testing.assert_close(torch.as_tensor(of_data.mean), torch.as_tensor(of_labels.mean))
    assert float((torch.as_tensor(of_split.mean) - split.tensors["size"]).abs().mean()) < 1.5


def test_a_split_is_read_through_its_transform() -> None:
    stream = np.random.default_rng(0)
    pictures = stream.integers(0, 255, (120, 6, 6), dtype=np.uint8)
    number = (pictures > 127).mean((1, 2), keepdims=False)[:, None].astype(np.float32)
    data = pv.data.load({"a": pictures, "s": number}, modalities=["a", "s"], binarise="threshold")
    run = pv.fit("mvae", data, epochs=2, device="cpu", progress=False)
    split = data.test
    bits = (split.tensors["a"] > 127).float()
    assert torch.equal(split.batch(torch.arange(len(split)))["a"], bits)
    made = [run.translate(each, "s", draws=20).mean for each in (split, {"a": bits}, {"a": split.tensors["a"]})]
    torch.testing.assert_close(torch.as_tensor(made[0]), torch.as_tensor(made[1]))
    assert not torch.allclose(torch.as_tensor(made[0]), torch.as_tensor(made[2]))
    mask = {"a": torch.ones(1, 1, 6, 6)}
    seen = [run.translate(each, "s", draws=20, masks=mask).mean for each in (split, {"a": bits})]
    torch.testing.assert_close(torch.as_tensor(seen[0]), torch.as_tensor(seen[1]))


def test_the_spread_of_a_mixture_of_experts_is_right_at_few_draws() -> None:
    """Draws come evenly from the experts, so that their squares are over S, not S - 1."""
    torch.manual_seed(0)
    laws = Strata(torch.full((4000, 2), 0.5), Normal(torch.tensor([[-2.0], [2.0]]).expand(4000, 2, 1), 0.3))
    z = laws.sample((4,))
    found = predicted([Independent(Normal(z.flatten(0, 1), 0.1), 1)], 4000, True, stratified=True)
    assert float(found.std.square().mean()) == pytest.approx(4 + 0.3**2 + 0.1**2, rel=0.03)
