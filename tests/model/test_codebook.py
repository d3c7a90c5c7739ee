"""The codebook: nearest words, moving averages, revival, the k-means start, and several processes that hold one."""

from __future__ import annotations

from math import exp, log
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from polyvae.model.posteriors.codebook import Codebook, usage


def codebook(size: int = 5, dim: int = 2, seed: int = 0, **options: float | bool) -> Codebook:
    torch.manual_seed(seed)
    made = Codebook(size, dim, **options)
    with torch.no_grad():
        made.weight.normal_()
    return made


@settings(max_examples=40, deadline=None)
@given(
    batch=st.integers(1, 4),
    size=st.integers(2, 9),
    dim=st.integers(1, 6),
    rest=st.lists(st.integers(1, 4), max_size=3),
)
def test_the_nearest_word_is_that_of_the_smallest_distance(batch: int, size: int, dim: int, rest: list[int]) -> None:
    words = codebook(size, dim).double().eval()
    encoded = torch.randn(batch, dim, *rest, dtype=torch.float64)
    codes, vectors = words(encoded)
    distances = (encoded.unsqueeze(1) - words.weight.view(1, size, dim, *[1] * len(rest))).square().sum(2)
    assert torch.equal(codes, distances.argmin(1))
    assert torch.equal(codes, words.nearest(encoded))
    assert torch.equal(vectors, words.embed(codes))
    torch.testing.assert_close((encoded - vectors).square().sum(1), distances.min(1).values)
    assert torch.equal(words.nearest(vectors), codes)


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_distances_and_words_are_in_single_precision_whatever_surrounds_them(precision: torch.dtype) -> None:
    torch.manual_seed(0)
    words = Codebook(256, 16)
    with torch.no_grad():
        words.weight.normal_().add_(50)  # far from zero, where half precision knows no neighbours
    encoded = words.weight.detach().T.reshape(1, 16, 256) + 1e-2 * torch.randn(1, 16, 256)
    plain = words(encoded)
    assert torch.equal(plain[0], torch.arange(256)[None])
    with torch.autocast("cpu", precision):
        mixed = words(encoded)
        half = words.nearest(encoded.to(precision))
    assert torch.equal(plain[0], mixed[0])
    assert half.dtype == torch.int64
    assert mixed[1].dtype == torch.float32
    assert torch.equal(plain[1], mixed[1])


def test_a_word_never_used_gets_no_gradient() -> None:
    words = codebook(6).eval()
    with torch.no_grad():
        words.weight[3] = 100.0
    codes, vectors = words(torch.randn(8, 2, 2))
    vectors.square().sum().backward()
    used = torch.zeros(6, dtype=torch.bool).index_fill(0, codes.flatten(), True)
    assert not used[3]
    assert not words.weight.grad[~used].any()
    assert words.weight.grad[used].any(1).all()


def test_moving_averages_are_those_of_counts_and_sums() -> None:
    words = codebook(7, 3, average=True, decay=0.8, revive=0.0).double()
    mass = torch.full((7,), 1 / 7, dtype=torch.float64)
    sums = mass[:, None] * words.weight
    for step in range(30):
        encoded = torch.randn(5, 3, 4, dtype=torch.float64)
        rows = encoded.movedim(1, 2).reshape(20, 3)
        member = torch.nn.functional.one_hot(words.nearest(encoded).flatten(), 7).double()
        _, vectors = words(encoded)
        keep = min(0.8, (1 + step) / (10 + step))
        mass = keep * mass + (1 - keep) * member.mean(0)
        sums = keep * sums + (1 - keep) * member.T @ rows / 20
        torch.testing.assert_close(words.weight, sums / mass[:, None])
        torch.testing.assert_close(words.use, mass)
        assert not vectors.requires_grad
    assert words.use.sum().item() == pytest.approx(1)
    assert not list(words.parameters())


def test_moving_averages_settle_on_the_centres_of_clusters() -> None:
    centres = torch.tensor([[3.0, 0.0], [-3.0, 1.0], [0.0, -4.0]])
    words = Codebook(3, 2, average=True)
    for _ in range(600):
        words(centres[torch.randint(3, (64,))] + 0.1 * torch.randn(64, 2))
    found = words.weight[words.nearest(centres)]
    torch.testing.assert_close(found, centres, atol=0.02, rtol=0)
    torch.testing.assert_close(words.use, torch.full((3,), 1 / 3), atol=0.03, rtol=0)


@pytest.mark.parametrize("average", [False, True])
def test_nothing_is_learned_in_evaluation_mode(average: bool) -> None:
    words = codebook(9, average=average, revive=0.9).eval()
    before = {name: value.clone() for name, value in words.state_dict().items()}
    words(torch.randn(30, 2) * 5)
    assert all(torch.equal(value, before[name]) for name, value in words.state_dict().items())


@pytest.mark.parametrize("average", [False, True])
def test_dead_codes_become_encoder_outputs_of_the_batch(average: bool) -> None:
    words = codebook(8, average=average, revive=0.5)
    with torch.no_grad():
        words.weight[4:] = 1000.0 + torch.arange(4.0)[:, None]  # out of reach of every output
    revived = False
    for _ in range(20):
        encoded = torch.randn(50, 2)
        before = words.weight.detach().clone()
        words(encoded)
        moved = (words.weight != before).any(1)[4:]
        if moved.any():
            revived = True
            same = (words.weight[4:, None] == encoded).all(2)
            assert same.any(1).all()
            assert same.any(0).sum() == 4
            torch.testing.assert_close(words.use[4:], torch.full((4,), 1 / 8))
            break
    assert revived
    words(torch.randn(500, 2))
    assert (words.seen > 0).all()


def test_without_revival_a_dead_code_stays() -> None:
    words = codebook(3, average=True, revive=0.0)
    words.weight[2] = torch.tensor([1e3, -1e3])
    for _ in range(3000):
        words(torch.randn(10, 2))
    assert torch.equal(words.weight[2], torch.tensor([1e3, -1e3]))
    assert words.weight.isfinite().all()


def test_what_is_far_from_every_word_is_revived_in_proportion_to_its_squared_distance() -> None:
    words = codebook(2)
    rows = torch.tensor([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0], [0.0, 0.0]])
    torch.manual_seed(0)
    first = torch.stack([words._candidates(rows, rows[:, 0].square())[0] for _ in range(2800)])[:, 0]
    counts = torch.stack([(first == value).sum() for value in (1.0, 2.0, 3.0)]).double()
    expected = torch.tensor([1.0, 4.0, 9.0]) * 200
    assert counts.sum() == 2800
    assert ((counts - expected) ** 2 / expected).sum() < 13.8  # two degrees of freedom, p = 0.001
    assert words._candidates(rows[:1], torch.zeros(1)).shape == (2, 2)


@pytest.mark.parametrize("average", [False, True])
def test_trap49_the_first_dead_code_becomes_the_first_candidate_whatever_its_index(average: bool) -> None:
    rows = torch.tensor([[0.0, 0.0]] * 7 + [[5.0, 5.0]])
    words = Codebook(8, 2, average=average, revive=0.5)
    with torch.no_grad():
        words.weight.copy_(torch.tensor([[0.0, 0.0]] * 7 + [[1e3, 1e3]]))
        words.use.copy_(torch.tensor([1 / 7] * 7 + [1e-6]))
        words.steps.fill_(1000)
    words(rows)
    assert words.weight[7].tolist() == [5.0, 5.0]  # the only output that is no copy of a living word


@pytest.mark.parametrize("average", [False, True])
def test_a_step_of_training_never_waits_for_the_device(average: bool) -> None:
    words = Codebook(6, 3, average=average).to("meta")  # has no values: to ask for one raises
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "autocast", lambda *args, **options: torch.no_grad())  # which meta does not know
        codes, vectors = words(torch.empty(4, 3, 2, 2, device="meta"))
    assert codes.shape == (4, 2, 2)
    assert vectors.shape == (4, 3, 2, 2)


def test_an_epoch_tells_perplexity_and_usage_and_starts_anew() -> None:
    words = codebook(4, revive=0.0)
    with torch.no_grad():
        words.weight.copy_(torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [9.0, 9.0]]))
    words(torch.tensor([[0.0, 0.0], [1.0, 0.0]]))
    words(torch.tensor([[0.0, 0.1], [0.0, 0.9]]))
    words.eval()(torch.tensor([[9.0, 9.0]]))
    found = words.train().epoch_values()
    assert found["perplexity"] == pytest.approx(exp(0.5 * log(2) + 2 * 0.25 * log(4)))
    assert found["usage"] == 0.75
    words(torch.tensor([[9.0, 9.0]]))
    assert words.epoch_values() == {"perplexity": pytest.approx(1.0), "usage": 0.25}
    assert usage(torch.ones(16).double())["perplexity"] == pytest.approx(16)


def test_the_kmeans_start_finds_clusters_and_follows_the_seed() -> None:
    torch.manual_seed(1)
    centres = 10 * torch.randn(12, 4)
    encoded = (centres.repeat(40, 1) + 0.1 * torch.randn(480, 4)).view(120, 2, 2, 4).permute(0, 3, 1, 2)
    found = []
    for seed in (5, 5, 6):
        words = Codebook(12, 4)
        torch.manual_seed(seed)
        words.start(encoded)
        found.append(words.weight.detach().clone())
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    gaps = torch.cdist(centres, found[0]).min(1).values
    assert (gaps < 0.1).sum() >= 10  # one start of k-means may leave two clusters to one centre
    assert (encoded.movedim(1, -1).reshape(-1, 4) - found[0][words.nearest(encoded).flatten()]).isfinite().all()


def test_fewer_different_outputs_than_codes_become_words_themselves() -> None:
    words = Codebook(8, 2, average=True)
    rows = torch.tensor([[0.0, 0.0], [1.0, 2.0], [3.0, 1.0]])
    words.start(rows.repeat(50, 1))
    assert torch.equal(words.weight[:3].sort(0).values, rows.sort(0).values)
    assert words.weight[3:].abs().max() <= 1 / 8
    equal = Codebook(2, 2)  # most outputs are the same, as the background of a picture
    equal.start(torch.cat([rows[:1].expand(1000, 2), rows]))
    assert equal.weight.isfinite().all()


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 codes of at least 1 number; got 1 of 4"):
        Codebook(1, 4)
    with pytest.raises(ValueError, match=r"decay lies between 0 and 1, such as 0\.99; got 1"):
        Codebook(4, 4, decay=1)
    with pytest.raises(ValueError, match=r"revive is a share of the even use.*got 2"):
        Codebook(4, 4, revive=2)
    with pytest.raises(ValueError, match=r"this codebook reads \[B, 4, ...\]; got \[2, 3\]"):
        Codebook(4, 4)(torch.zeros(2, 3))


def batches(count: int) -> Tensor:
    return torch.randn(count, 12, 3, 2, generator=torch.Generator().manual_seed(9))


CASES = {"one": (True, 0.0), "average": (True, 0.9), "gradient": (False, 0.9)}  # average, revive


def trained(rank: int, processes: int, average: bool, revive: float) -> dict[str, Tensor]:
    """What a codebook holds after one process's share of some batches."""
    torch.manual_seed(0)
    words = Codebook(10, 3, average=average, decay=0.9, revive=revive)
    words.start(batches(1)[0] + rank)  # what only the first is shown counts
    torch.manual_seed(rank)
    for batch in batches(40):
        words(batch[rank::processes])
    words.counted = rank == 0  # a last batch of one example: what the others read stands in for none
    words(batches(1)[0, :1])
    return words.state_dict()


def train(rank: int, processes: int, meeting: str) -> None:
    """One process of several, which writes what its codebooks hold."""
    distributed = torch.distributed
    distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=processes)
    torch.save({name: trained(rank, processes, *case) for name, case in CASES.items()}, f"{meeting}.{rank}")
    distributed.barrier()
    distributed.destroy_process_group()


def test_two_processes_hold_the_codebook_of_one_and_the_same_after_revival(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(train, (2, str(tmp_path / "meeting")), 2)
    first, second = (torch.load(tmp_path / f"meeting.{rank}", weights_only=True) for rank in range(2))
    one = trained(0, 1, *CASES["one"])
    for case in CASES:
        assert all(torch.equal(first[case][name], second[case][name]) for name in one), case
        assert first[case]["seen"].sum() == 40 * 24 + 2
    for name in one:
        torch.testing.assert_close(first["one"][name], one[name])
    assert not torch.allclose(first["average"]["weight"], one["weight"])
