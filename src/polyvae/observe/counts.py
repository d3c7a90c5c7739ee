"""How many of N places are seen: the same number in every image, or a number drawn for each."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor


class Counts(ABC):
    """How many of `places` places each image of a batch sees; numbers are drawn from torch's global generator."""

    @abstractmethod
    def most(self, places: int) -> int:
        """The largest number that can come out, known without a look at the device."""

    def draw(self, batch: int, places: int, device: torch.device) -> Tensor:
        """One number for each image, int64 [batch], from 0 to `most(places)`."""
        return torch.full((batch,), self.most(places), device=device)


@dataclass(frozen=True)
class Constant(Counts):
    """The same number of places in every image; ValueError where it is negative or there are not as many places."""

    number: int

    def __post_init__(self) -> None:
        if self.number != int(self.number) or self.number < 0:
            raise ValueError(f"Constant.number counts pixels, a whole number from 0; got {self.number}")

    def most(self, places: int) -> int:
        if self.number > places:
            raise ValueError(f"{self.number} pixels; the mask has {places} places or columns: ask for fewer")
        return int(self.number)


@dataclass(frozen=True)
class Share(Counts):
    """The same share of the places in every image, s N rounded to the nearest whole number (halves to the even one).

    ValueError for a share outside [0, 1].
    """

    share: float

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ValueError(f"Share.share is a share of the places, from 0 to 1; got {self.share}")

    def most(self, places: int) -> int:
        return round(self.share * places)


@dataclass(frozen=True)
class PowerLaw(Counts):
    """A number drawn for each image, n = floor(N (1 - u^(1/a))) with u uniform on (0, 1] and a the exponent.

    P(n <= k) = 1 - (1 - (k + 1) / N)^a: few places most of the time, none among them, and about N / (a + 1) - 1/2 on
    average; the density of n / N is a (1 - n / N)^(a - 1). u is a single-precision number of at least 2^-24, so that
    n stays below N, and below 0.34 N for a = 40. ValueError for an exponent that is not above 0.
    """

    exponent: float

    def __post_init__(self) -> None:
        if not (self.exponent > 0 and math.isfinite(self.exponent)):
            raise ValueError(f"PowerLaw.exponent is above 0, as 20 or 40; got {self.exponent}")

    def most(self, places: int) -> int:
        # One more than the formula gives, since the device rounds in single precision; N itself has probability zero.
        return min(max(places - 1, 0), 1 + math.floor(-places * math.expm1(-24 * math.log(2) / self.exponent)))

    def draw(self, batch: int, places: int, device: torch.device) -> Tensor:
        u = 1 - torch.rand(batch, device=device)
        numbers = u.log_().div_(self.exponent).expm1_().mul_(-places)
        return numbers.long().clamp_(0, self.most(places))


@dataclass(frozen=True)
class LogUniform(Counts):
    """A number drawn for each image, as often from one to ten as from ten to a hundred, from `least`, 0 or 1, to all N.

    n = floor((N + 2 - least)^u) - 1 + least with u uniform on [0, 1); P(n) is proportional to log(1 + 1 / n) for least
    1 and to log(1 + 1 / (n + 1)) for 0. A model that completes is shown few places as often as many. ValueError for
    another least.
    """

    least: int = 1

    def __post_init__(self) -> None:
        if self.least not in (0, 1):
            raise ValueError(f"LogUniform.least is 0 or 1; got {self.least}")

    def most(self, places: int) -> int:
        return places

    def draw(self, batch: int, places: int, device: torch.device) -> Tensor:
        found = torch.pow(places + 2.0 - self.least, torch.rand(batch, device=device))
        return found.long().add_(self.least - 1).clamp_(min(self.least, places), places)
