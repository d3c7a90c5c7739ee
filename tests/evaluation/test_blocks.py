"""One block loop: where blocks begin and end, whose noise they have, and what several processes make of them."""

import pytest
import torch

from helpers.runs import pictures, small
from polyvae.evaluation.blocks import Blocks, each_block
from polyvae.training.validation import BLOCK, validate

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("count", "alone", "ends"),
    [(0, True, []), (1, False, [1]), (4, False, [4]), (8, True, [4, 8]), (9, True, [4, 8, 9]), (9, False, [4, 9])],
)
def test_blocks_follow_one_another_and_a_single_example_left_over_joins_where_it_may_not_stand_alone(
    count: int, alone: bool, ends: list[int]
) -> None:
    blocks = Blocks(4, alone).cut(count)
    assert [block.stop for block in blocks] == ends
    assert [block.start for block in blocks] == [0, *ends][: len(ends)]


def test_the_noise_of_a_block_follows_from_seed_number_and_stream_alone() -> None:
    def noise(blocks: Blocks, seed: int = 0, count: int = 12) -> list[float]:
        return blocks.each(count, lambda block: float(torch.rand(())), CPU, seed)

    torch.manual_seed(5)
    state = torch.get_rng_state()
    plain = noise(Blocks(4))
    assert plain == noise(Blocks(4)) == noise(Blocks(6), count=18)
    assert noise(Blocks(4, only=[2, 0])) == [plain[2], plain[0]]
    others = [*plain, *noise(Blocks(4), 1), *noise(Blocks(4, stream=(1,))), *noise(Blocks(4, stream=(2,)))]
    assert len(set(others)) == len(others)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("processes", [2, 3, 4])
def test_what_processes_validate_adds_up_to_exactly_what_one_does(processes: int) -> None:
    data = pictures(12 + 2 * BLOCK + 7, validation=2 * BLOCK + 7)  # three blocks: of four processes one has none
    recipe = small("vae", data)
    given = recipe.model, recipe.objective, recipe.observe, data.validation, 3
    tables: list[torch.Tensor] = []

    def kept(table: torch.Tensor) -> torch.Tensor:
        tables.append(table.clone())
        return table

    for rank in range(processes):
        validate(*given, reduce=kept, share=(rank, processes))
    found = validate(*given, reduce=lambda table: torch.stack(tables).sum(0), share=(0, processes))
    assert found == validate(*given)
    assert all(int(table.any(1).sum()) == len(range(rank, 3, processes)) for rank, table in enumerate(tables))


def test_validation_draws_other_noise_than_evaluation() -> None:
    data = pictures(12 + 20, validation=20)
    recipe = small("vae", data)
    seen: list[float] = []

    class Listening(torch.nn.Module):
        def forward(self, model, batch, step):
            seen.append(float(torch.rand(())))
            return {"loss": batch["x"].sum()}

    validate(recipe.model, Listening(), recipe.observe, data.validation, 0)
    assert seen != each_block(recipe, data.validation, lambda model, batch: float(torch.rand(())))
