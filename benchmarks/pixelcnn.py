"""Maps drawn from a gated PixelCNN a second, activations kept, beside the whole map made again for each position."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice, product

import torch
from torch import Tensor

from benchmarks.interleave import Result, compare
from polyvae.model.networks.pixelcnn import GatedPixelCNN
from polyvae.model.networks.pixelcnn_sampling import draw

CASES = {
    "128 codes at 7x7": ((7, 7), 128, (1, 16, 128)),
    "2 grey levels at 28x28": ((28, 28), 2, (1, 16, 64)),
}
PASSES = 49  # of the whole network that are timed for a map; each costs the same, the rest are counted like them


def pixelcnn(device: torch.device, rounds: int) -> Iterator[Result]:
    """The network of `pixel_cnn` as it is by default, codes of a 28x28 picture and binary pixels."""
    for words, (shape, codes, batches) in CASES.items():
        torch.manual_seed(0)
        net = GatedPixelCNN(shape, codes).to(device).eval()
        for batch in batches:
            yield _beside_recomputing(f"PixelCNN samples, {words}, batch {batch}", net, batch, rounds)


def _beside_recomputing(what: str, net: GatedPixelCNN, batch: int, rounds: int) -> Result:
    positions = net.shape[0] * net.shape[1]
    found = compare(
        what,
        lambda: draw(net, batch),
        "the whole map again for each position",
        lambda: recomputed(net, batch, PASSES),
        bar=5,
        items=batch,
        unit="maps/s",
        rounds=rounds,
    )
    return replace(found, others=[seconds * positions / min(PASSES, positions) for seconds in found.others])


@torch.no_grad()
def recomputed(net: GatedPixelCNN, count: int, passes: int | None = None) -> Tensor:
    """`count` maps, the whole network run for each position; the first `passes` positions alone where it is given."""
    height, width = net.shape
    codes = torch.zeros(count, height, width, dtype=torch.int64, device=net.rows.device)
    for row, column in islice(product(range(height), range(width)), passes):
        codes[:, row, column] = net(codes)[:, row, column].softmax(-1).multinomial(1).squeeze(1)
    return codes
