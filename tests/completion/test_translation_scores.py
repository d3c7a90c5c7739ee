"""Scores of translations: against a law that is known, with nothing given, labels, gaps, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import polyvae as pv
from polyvae.completion.translation_scores import score_translations
from polyvae.data import wrap
from polyvae.data.split import Split
from polyvae.model.families.real import FLOOR, DiagonalNormal
from polyvae.model.parts import Head
from polyvae.model.posteriors.experts import Experts
from polyvae.model.presence import present
from polyvae.model.priors.normal import StandardNormal
from polyvae.model.spec import Modality
from polyvae.model.vae import VAE, Conditional
from polyvae.observe.modalities import Present

NOISE = 0.5
SPEC = pv.Spec(levels=None, modalities=tuple(Modality(name, pv.Spec((1,), levels=None)) for name in "ab"))


class Around(nn.Module):
    """A network that says N(x, scale^2)."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        one, wanted = (torch.tensor(each - FLOOR).expm1().log() for each in (1.0, self.scale))
        return torch.cat([x, torch.full_like(x, float(wanted - one))], 1)


class Known:
    """z ~ N(0, 1), a and b ~ N(z, NOISE^2), with the exact posterior of one given: N(x / (1 + s), s / (1 + s))."""

    def __init__(self) -> None:
        expert = {name: Conditional(Around(NOISE), DiagonalNormal(), name) for name in "ab"}
        heads = {
            name: Head(Conditional(Around(NOISE), DiagonalNormal(), "z"), of=name, where=present(name)) for name in "ab"
        }
        self.model = VAE(Experts(expert, prior=True), StandardNormal(1), heads)
        self.observe, self.spec = Present.of(SPEC.values), SPEC


def rows(count: int, seed: int) -> Split:
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(count, 1, generator=generator)
    return Split({name: z + NOISE * torch.randn(count, 1, generator=generator) for name in "ab"})


def test_errors_and_bands_are_those_of_the_exact_conditional_law() -> None:
    one, none = score_translations(Known(), rows(4000, 0), ["a"], ["b"], 400, rows(400, 1))
    s = NOISE**2
    for found, given, variance in ((one, ("a",), s + s / (1 + s)), (none, (), 1 + s)):
        assert (found.target, found.given) == ("b", given)
        assert found.unseen.mse == pytest.approx(variance, rel=0.06)
        # The ranked probability score of a normal law under itself is sigma / sqrt(pi).
        assert found.unseen.crps == pytest.approx((variance / torch.pi) ** 0.5, rel=0.04)
        assert found.calibrated is not None
        # Factors of 200 held-out rows: the share that they cover has a standard error of 0.035 at one half.
        for held, off in ((found.unseen, 0.025), (found.calibrated, 0.1)):
            assert held.coverage == pytest.approx({level: level for level in held.coverage}, abs=off)


def test_calibration_mends_a_spread_that_is_wrong() -> None:
    source = Known()
    source.model.heads["b"].likelihood.net.scale = 5 * NOISE
    (found, _) = score_translations(source, rows(3000, 0), ["a"], ["b"], 200, rows(400, 1))
    assert found.calibrated is not None
    assert found.unseen.coverage[0.5] > 0.9
    assert found.calibrated.coverage[0.5] == pytest.approx(0.5, abs=0.1)
    assert found.calibrated.crps < 0.8 * found.unseen.crps


def test_what_is_asked_for_is_never_shown() -> None:
    split = rows(300, 0)
    moved = Split({**split.tensors, "b": split.tensors["b"] + 100})
    one, other = (score_translations(Known(), each, ["a"], ["b"], 100)[0] for each in (split, moved))
    assert one.calibrated is None
    assert other.unseen.mse == pytest.approx(1e4, rel=0.05)
    assert one.unseen.mse < 1


def test_rows_that_lack_a_modality_are_left_out() -> None:
    split = rows(200, 0)
    there = torch.arange(200) < 120
    b = torch.where(there[:, None], split.tensors["b"], 1e6)
    gone = Split({**split.tensors, "b": b, present("b"): there})
    whole = score_translations(Known(), split.take(range(120)), ["a"], ["b"], 50)
    assert score_translations(Known(), gone, ["a"], ["b"], 50) == whole


def test_columns_of_labels_have_their_own_errors() -> None:
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(0, 3, (400,), generator=generator)
    values: dict[str, Any] = {"number": y[:, None] + 0.1 * torch.randn(400, 1, generator=generator), "name": y[:, None]}
    data = wrap(values, modalities=["number", "name"], kind={"name": "category", "number": "real"})
    run = pv.fit("mvtcae", data, epochs=60, batch_size=32, lr=5e-3, progress=False, device="cpu")
    one, none = score_translations(run, data.test, ["number"], validation=data.validation)
    assert one.unseen.wrong is not None
    assert none.unseen.wrong is not None
    assert one.unseen.mse is None
    assert one.unseen.wrong < 0.2 < none.unseen.wrong
    (back, _) = score_translations(run, data.test, ["name"], ["number"])
    assert back.standardised
    assert back.unseen.mse < 0.4


@pytest.mark.parametrize(
    ("given", "to", "draws", "said"),
    [
        (["c"], None, 10, "a modality that is given is one of a, b; got 'c'"),
        (["a"], ["a"], 10, "a modality that is not given is one of b; got 'a'"),
        (["a"], None, 1, "draws"),
    ],
)
def test_what_cannot_be_scored_is_refused(given: list[str], to: list[str] | None, draws: int, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        score_translations(Known(), rows(10, 0), given, to, draws)
