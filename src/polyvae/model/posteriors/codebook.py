"""The codebook of a vector quantiser: nearest codes, averages of their use, revival of the dead."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from polyvae.model.clusters import k_means
from polyvae.model.distributions.codes import Quantised, straight_through
from polyvae.model.posteriors.rotation import rotated
from polyvae.model.precision import full

_SMALL = 1e-12  # of an averaged use: far below any share that a position of a batch can be
_ROWS = 2**16  # encoder outputs that k-means is shown


class Codebook(nn.Module):
    """K code words c_k of D numbers, and the nearest of them to each encoder output.

    Gradient: the words are a parameter that `terms.CodebookCost` moves. `average`: they are the moving averages of the
    encoder outputs nearest to them,

    u <- d u + (1 - d) n / N,  c <- c + (1 - d) (s - n c) / (N u),  n and s the number and sum of a batch's N outputs

    which equals c = m / u for averages m, u that start at m = u c: a code that nothing uses stays where it is (van den
    Oord, Vinyals, Kavukcuoglu, 2017, appendix A.1). d is `decay`, less in the first steps.

    In training mode a code whose averaged use falls below `revive` / K becomes an encoder output of the batch, drawn
    with a probability in proportion to the squared distance from its nearest word, and its use starts again at 1 / K;
    0 revives none (Dhariwal, Jun, Payne, Kim, Radford, Sutskever: Jukebox, 2020; Arthur, Vassilvitskii: k-means++,
    2007). Several processes sum their batches and hold the same words; one whose batch stands for no example sets
    `counted` to 0, and takes part in the sums with zeros. `rotation`: the gradient passes to the encoder by the
    rotation trick, see `rotation.rotated`, in the place of straight through.
    """

    counted = 1
    certain = True  # all draws of its law are one

    use: Tensor
    steps: Tensor
    seen: Tensor

    def __init__(
        self,
        size: int,
        dim: int,
        average: bool = False,
        decay: float = 0.99,
        revive: float = 0.1,
        rotation: bool = False,
    ) -> None:
        super().__init__()
        if size < 2 or dim < 1:
            raise ValueError(f"a codebook holds at least 2 codes of at least 1 number; got {size} of {dim}")
        if not 0 < decay < 1:
            raise ValueError(f"decay lies between 0 and 1, such as 0.99; got {decay}")
        if not 0 <= revive < 1:
            raise ValueError(f"revive is a share of the even use, from 0 (never) to below 1; got {revive}")
        self.size, self.dim = size, dim
        self.average, self.decay, self.revive = average, decay, revive
        self.through = rotated if rotation else straight_through
        words = torch.empty(size, dim).uniform_(-1 / size, 1 / size)
        if average:
            self.register_buffer("weight", words)
        else:
            self.weight = nn.Parameter(words)
        self.register_buffer("use", torch.full((size,), 1 / size))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.register_buffer("seen", torch.zeros(size, dtype=torch.int64))

    def forward(self, encoded: Tensor) -> tuple[Tensor, Tensor]:
        """Encoder outputs [B, D, *rest] -> codes [B, *rest] and their words [B, D, *rest]."""
        rows = self._rows(encoded.detach())
        codes, gaps = self._nearest(rows)
        shaped = codes.view(encoded.shape[0], *encoded.shape[2:])
        words = self.embed(shaped)
        if self.training:
            self._learn(rows, codes, gaps)
        return shaped, words

    def quantise(self, encoded: Tensor) -> Quantised:
        """The law of encoder outputs [B, D, *rest]: all probability on the map of their nearest words."""
        codes, words = self(encoded)
        return Quantised(codes, encoded, words, self.through(encoded, words))

    def embed(self, codes: Tensor) -> Tensor:
        """Codes [B, *rest] -> their words [B, D, *rest]."""
        return F.embedding(codes, self.weight).movedim(-1, 1)

    def nearest(self, encoded: Tensor) -> Tensor:
        """The codes [B, *rest] of the words nearest to [B, D, *rest], the first of several equally near."""
        return self._nearest(self._rows(encoded.detach()))[0].view(encoded.shape[0], *encoded.shape[2:])

    @torch.no_grad()
    def start(self, encoded: Tensor) -> None:
        """Sets the words to the centres of k-means over encoder outputs [B, D, *rest], seeded by torch's generator.

        Fewer different outputs than codes become words themselves, and the codes left over keep theirs.
        """
        rows = self._rows(encoded)
        rows = rows[torch.randperm(len(rows))[:_ROWS].to(rows.device)]
        # A start among equal rows would warn of empty clusters; k-means takes them as one row that weighs more.
        points, weights = np.unique(rows.cpu().numpy(), axis=0, return_counts=True)
        if len(points) > self.size:
            seed = int(torch.randint(2**31, ()))
            points = k_means(points, self.size, seed, weights).cluster_centers_
        words = self.weight.detach().clone()
        words[: len(points)] = torch.as_tensor(points).to(words)
        self.weight.copy_(_of_first(words))
        self.use.fill_(1 / self.size)

    def epoch_values(self) -> dict[str, float]:
        """Perplexity exp H of the codes used since the last call, between 1 and K, and the share of codes used."""
        return told(self.seen)

    @torch.no_grad()
    def _nearest(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Codes [N] and squared distances [N] of rows [N, D]."""
        with torch.autocast(rows.device.type, enabled=False):
            words = self.weight.to(rows.dtype)
            # |e - c|^2 = |e|^2 - 2 e.c + |c|^2, of which |e|^2 does not choose: one matrix product.
            least = torch.addmm(words.square().sum(1), rows, words.T, alpha=-2).min(1)
            return least.indices, (least.values + rows.square().sum(1)).clamp(min=0)

    def _rows(self, encoded: Tensor) -> Tensor:
        """[B, D, *rest] -> [B * positions, D] in single precision or better."""
        if encoded.ndim < 2 or encoded.shape[1] != self.dim:
            raise ValueError(f"this codebook reads [B, {self.dim}, ...]; got {list(encoded.shape)}")
        rows = encoded.movedim(1, -1).reshape(-1, self.dim)
        return full(rows)

    @torch.no_grad()
    def _learn(self, rows: Tensor, codes: Tensor, gaps: Tensor) -> None:
        """Takes in a batch of training: averages of use, the words where they are averages, revival."""
        columns = torch.cat([rows, rows.new_ones(len(rows), 1)], 1) if self.average else rows.new_ones(len(rows), 1)
        sums = columns.new_zeros(self.size, columns.shape[1])
        sums = _of_all(sums.index_add_(0, codes, columns) if self.counted else sums)
        counts = sums[:, -1]
        self.seen += counts.long()
        # The average of the first steps is that of few: what the untrained encoder left is soon forgotten.
        keep = ((1 + self.steps) / (10 + self.steps)).clamp(max=self.decay).to(rows.dtype)
        self.steps += 1
        share = counts / counts.sum()
        self.use.mul_(keep).add_((1 - keep) * share).clamp_(min=_SMALL)
        if self.average:
            drift = sums[:, :-1] / counts.sum() - share[:, None] * self.weight
            self.weight += (1 - keep) * drift / self.use[:, None]
        if self.revive:
            dead = self.use * self.size < self.revive
            # By its rank among the dead: the first of them becomes the first candidate, whatever its index.
            fresh = _of_first(self._candidates(rows, gaps))[(dead.cumsum(0) - 1).clamp(min=0)]
            self.weight.copy_(torch.where(dead[:, None], fresh, self.weight))
            self.use.copy_(torch.where(dead, 1 / self.size, self.use))

    def _candidates(self, rows: Tensor, gaps: Tensor) -> Tensor:
        """K rows drawn without replacement, weighted by gaps, first drawn first; begun again where there are fewer."""
        count = min(self.size, len(rows))
        noise = -torch.rand_like(gaps).clamp(min=1e-20).log()
        chosen = (gaps / noise).topk(count).indices
        return rows[chosen[torch.arange(self.size, device=rows.device) % count]]

    def extra_repr(self) -> str:
        how = f"average of decay {self.decay}" if self.average else "by gradient"
        return f"{self.size} x {self.dim}, {how}, revive={self.revive}"


def usage(counts: Tensor) -> dict[str, float]:
    """Perplexity exp H and share of the codes used, from how often each was, [K], or [C, K] of C codebooks.

    The perplexity of several codebooks is that of their mean entropy.
    """
    share = counts / counts.sum(-1, keepdim=True).clamp(min=1)
    entropy = -torch.xlogy(share, share).sum(-1).mean()
    return {"perplexity": float(entropy.exp()), "usage": float((counts > 0).double().mean())}


class Tally(nn.Module):
    """How often each of K codes was used in training, for codebooks that have nothing else to learn from it.

    Several processes sum what they count, as those of a `Codebook` do.
    """

    counted = 1
    seen: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(size, dtype=torch.int64))

    @torch.no_grad()
    def forward(self, codes: Tensor) -> None:
        """Counts integers of any shape, in training mode."""
        if self.training:
            counts = torch.zeros_like(self.seen)
            flat = codes.flatten()
            counts = counts.index_add_(0, flat, torch.ones_like(flat)) if self.counted else counts
            self.seen += _of_all(counts)

    def epoch_values(self) -> dict[str, float]:
        """Perplexity and share of the codes used since the last call."""
        return told(self.seen)


def told(seen: Tensor) -> dict[str, float]:
    """What counts [K] or [C, K] say of the use of the codes, after which they start again."""
    counts = seen.double().cpu() if seen.device.type == "mps" else seen.double()
    seen.zero_()
    return usage(counts)


def _of_all(tensor: Tensor) -> Tensor:
    """The sum over all processes."""
    if _several():
        torch.distributed.all_reduce(tensor)
    return tensor


def _of_first(tensor: Tensor) -> Tensor:
    """What the first process holds."""
    if _several():
        tensor = tensor.contiguous()
        torch.distributed.broadcast(tensor, 0)
    return tensor


def _several() -> bool:
    distributed = torch.distributed
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1
