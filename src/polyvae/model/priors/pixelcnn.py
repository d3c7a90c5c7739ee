"""The learned prior over maps of codes: a gated PixelCNN as the law of a quantised latent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Size, Tensor, nn
from torch.distributions import Distribution
from torch.nn import functional as F

from polyvae.model.distributions.codes import CodePrior, Words
from polyvae.model.networks.pixelcnn import GatedPixelCNN
from polyvae.model.networks.pixelcnn_above import as_vectors
from polyvae.model.networks.pixelcnn_sampling import check_sharpness, draw
from polyvae.model.precision import as_here, full
from polyvae.model.vae import Values


class PixelCodes(CodePrior):
    """p(k | y) = prod_i p(k_i | k_1 ... k_(i-1), y) by a gated PixelCNN over maps of codes at `positions`.

    y [B, condition], or a map of such vectors, makes a law for each of B conditions. `temperature` and `top_k` sharpen
    what is drawn (see `pixelcnn_sampling.draw`) and never what is scored: probabilities are those of the network.
    """

    def __init__(
        self,
        net: GatedPixelCNN,
        codebook: Words,
        positions: Sequence[int],
        y: Tensor | None = None,
        temperature: float = 1.0,
        top_k: int | None = None,
    ) -> None:
        self.net, self.y = net, y
        self.score = as_here(net, net.rows.device)  # asked for later, where densities are not in half precision
        self.temperature, self.top_k = temperature, top_k
        super().__init__(codebook, positions, Size() if y is None else y.shape[:1])

    def tempered(self, temperature: float) -> PixelCodes:
        """The same law that draws at a temperature."""
        check_sharpness(temperature, self.top_k)
        return PixelCodes(self.net, self.codebook, self.positions, self.y, temperature, self.top_k)

    def log_prob_codes(self, codes: Tensor) -> Tensor:
        lead = codes.shape[: codes.ndim - len(self.positions)]
        maps = as_maps(codes.reshape(-1, *self.positions))
        y = self._conditions(Size(lead))
        logits = full(self.score(maps, y))
        cost = F.cross_entropy(logits.flatten(0, 2), maps.flatten(), reduction="none")
        return -cost.view(len(maps), -1).sum(1).view(lead)

    def sample_codes(self, sample_shape: Sequence[int] = ()) -> Tensor:
        lead = Size((*sample_shape, *self.batch_shape))
        y = self._conditions(lead)
        maps = draw(self.net, lead.numel(), y, self.temperature, self.top_k)
        return from_maps(maps, self.positions).reshape(*lead, *self.positions)

    def _conditions(self, lead: Size) -> Tensor | None:
        """y once for every map of `lead`."""
        return None if self.y is None else self.y.expand(*lead, *self.y.shape[1:]).flatten(0, len(lead) - 1)


class PixelCNNPrior(nn.Module):
    """p(z), or p(z | y) with `given` = ("y",): the words of a codebook at maps of codes from a gated PixelCNN.

    y holds integer labels, vectors as long as the network's condition, or maps of such vectors; with a `reader`, a
    network that makes such maps of all that is `given`, it is what that makes: p(z | maps above, y). ValueError where
    the network's maps or codes are not those of the codebook at these `positions`.
    """

    def __init__(
        self,
        net: GatedPixelCNN,
        codebook: Any,
        positions: Sequence[int],
        given: Sequence[str] = (),
        temperature: float = 1.0,
        top_k: int | None = None,
        reader: nn.Module | None = None,
    ) -> None:
        super().__init__()
        check_sharpness(temperature, top_k)
        if net.codes != codebook.size or net.shape != map_shape(positions):
            raise ValueError(
                f"the network is one of {net.codes} codes at {net.shape}, the codebook has {codebook.size} codes and "
                f"stands at {tuple(positions)}"
            )
        if bool(given) != (net.condition is not None):
            raise ValueError(f"the network's condition is a vector of {net.condition} numbers; the prior reads {given}")
        self.net, self.codebook = net, codebook
        self.positions, self.given = tuple(positions), tuple(given)
        self.temperature, self.top_k, self.reader = temperature, top_k, reader

    def forward(self, values: Values) -> Distribution:
        read, y = [values[name] for name in self.given], None
        if self.reader is not None:
            y = full(self.reader(*read))
        elif read:
            y = as_vectors(read[0], self.net.condition or 0, self.net.rows)
        return PixelCodes(self.net, self.codebook, self.positions, y, self.temperature, self.top_k)

    def sharpened(self, temperature: float = 1.0, top_k: int | None = None) -> PixelCNNPrior:
        """The same prior, weights shared, that draws otherwise; what it scores does not change."""
        made = PixelCNNPrior(self.net, self.codebook, self.positions, self.given, temperature, top_k, self.reader)
        made.training = self.training
        return made

    def extra_repr(self) -> str:
        return f"positions={self.positions}, given={self.given}, temperature={self.temperature}, top_k={self.top_k}"


def map_shape(positions: Sequence[int]) -> tuple[int, int]:
    """Height and width of the map that codes at `positions` [n], [H, W] or [C, H, W] are laid out in."""
    if not 1 <= len(positions) <= 3:
        raise ValueError(f"codes stand in a row, a map or a map of channels; got positions {tuple(positions)}")
    channels, height, width = (1,) * (3 - len(positions)) + tuple(positions)
    return height, width * channels


def as_maps(codes: Tensor) -> Tensor:
    """[B, n], [B, H, W] or [B, C, H, W] -> [B, H, W C]: the channels of a pixel stand one after the other."""
    codes = codes.unsqueeze(1) if codes.ndim == 2 else codes
    return codes if codes.ndim == 3 else codes.movedim(1, -1).flatten(2)


def from_maps(maps: Tensor, positions: Sequence[int]) -> Tensor:
    """The inverse of `as_maps`."""
    if len(positions) < 3:
        return maps.reshape(-1, *positions)
    return maps.unflatten(2, (positions[2], positions[0])).movedim(-1, 1)
