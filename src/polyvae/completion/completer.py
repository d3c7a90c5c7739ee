"""How a model completes partly seen pictures: by draws of the latents and of the likelihood."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import repeat as repeated
from typing import Any, cast

import torch
from torch import Tensor
from torch.distributions import Distribution

from polyvae.checks.names import find
from polyvae.checks.ranges import at_least
from polyvae.completion.predictive import Predictive, between, predicted
from polyvae.completion.seen import Target, hamiltonian, own_ratio, resampled, seen_in, seen_score
from polyvae.evaluation.bounds import chunk_values
from polyvae.model.laws import repeat
from polyvae.model.parts import shared
from polyvae.model.vae import VAE, Values

LATENTS: dict[str, None] = dict.fromkeys(("prior", "weighed", "moved", "posterior", "none"))
WEIGHED = ("weighed", "moved")
MOVES = 20  # of each draw, where no number is said


@dataclass(frozen=True)
class Completer:
    """How a model completes partly seen values: where z comes from, which head predicts, with which noise.

    `latents`: "posterior", q(z | x, ...), which sees all of x; "prior", which sees at most m; "none", none, of a head
    that reads m alone, or z = 0, of one that is trained there too; "weighed", importance resampling: `candidates` draws
    from the prior (ten times `draws` by default), of which `draws` are drawn again with weights p(x_seen | z), so that
    roughly z ~ p(z | m, x_seen); "moved", these draws after `moves` Hamiltonian moves each, 20 by default, under that
    law. Of a model that draws from a fitted q(z | m), the weights are p(x_seen | z) p(z) / q(z | m). `head`: by default
    the first that explains the value and reads m. `noise`: whether the spread includes the likelihood's own. `of`,
    `name`: what is completed, and the name of its observation. Raises ValueError for a wrong choice.

    Rubin: The Calculation of Posterior Distributions by Data Augmentation (comment), 1987.
    """

    draws: int = 100
    latents: str = "prior"
    candidates: int | None = None
    head: str | None = None
    noise: bool = True
    of: str = "x"
    name: str = "m"
    moves: int | None = None

    def __post_init__(self) -> None:
        for name, count in (("draws", self.draws), ("candidates", self.candidates), ("moves", self.moves)):
            if count is not None:
                at_least(name, count, 1, "moves of each draw" if name == "moves" else "draws of the latents")
        find(LATENTS, self.latents, "where latents come from")
        if self.candidates is not None and self.latents not in WEIGHED:
            raise ValueError("candidates are what is weighed by what is seen; without weights there are none")
        if self.moves is not None and self.latents != "moved":
            raise ValueError("moves are those of weigh hamiltonian; without it no draw is moved")
        if self.candidates is not None and self.candidates < self.draws:
            raise ValueError(
                f"candidates are at least as many as the draws taken of them, {self.draws}; got {self.candidates}"
            )

    def head_of(self, model: VAE) -> str:
        """The head that predicts. Raises ValueError where there is none, or where it would see nothing."""
        if self.latents == "posterior" and model.summed:
            raise ValueError(f"{sorted(model.summed)} are summed over, not drawn: complete with latents from the prior")
        if self.head is not None:
            find(dict(model.heads.items()), self.head, "a head of the model")
        if self.latents == "none":
            return self._alone_of(model)
        if self.head is not None:
            return self.head
        heads = [name for name, head in model.heads.items() if head.of == self.of]
        if not heads:
            raise ValueError(f"no head of this model explains {self.of!r}; its heads are {list(model.heads)}")
        for name in heads:
            if sees(model, model.heads[name], self.name):
                return name
        parts = model.posterior if self.latents == "posterior" else model.prior
        if self.latents not in WEIGHED and not any(sees(model, part, self.name) for part in parts.values()):
            gaps = "; what the data lack, run.impute (polyvae impute) fills" if "seen" in model.inputs else ""
            raise ValueError(self._blind(heads[0], gaps))
        return heads[0]

    def predict(self, model: VAE, batch: Values) -> Iterator[Predictive]:
        """The predictive distribution of a batch that holds m and what else the model reads, some examples at a time.

        With z from the posterior the batch holds all of x; with weights, x may be anything where it is not seen.
        """
        head = self.head_of(model)
        rows, values = len(batch[self.name]), batch[self.of][0].numel()
        # Several arrays of all draws are held at once, where the decoder holds one chunk of them.
        size = max(1, 8 * chunk_values(batch[self.name].device) // (self.draws * values))
        for start in range(0, rows, size):
            yield self._predict(model, head, {name: value[start : start + size] for name, value in batch.items()})

    def measured(
        self, model: VAE, batch: Values, measure: Callable[[Predictive, slice], Mapping[str, Tensor]]
    ) -> dict[str, Tensor]:
        """What `measure` returns for every row, [B, ...], by name; its arguments: the law of some rows, which rows."""
        pieces: list[Mapping[str, Tensor]] = []
        start = 0
        for part in self.predict(model, batch):
            rows = slice(start, start + len(part.mean))
            pieces.append(measure(part, rows))
            start = rows.stop
        return {name: torch.cat([piece[name] for piece in pieces]) for name in pieces[0]}

    def _predict(self, model: VAE, head: str, batch: Values) -> Predictive:
        rows, effective = len(batch[self.name]), None
        if self.latents == "posterior":
            laws = (model(batch, count).heads[head].p for count in self.counts(batch, self.draws))
        elif self.latents in WEIGHED:
            latents, effective = self._resampled(model, head, batch)
            if self.latents == "moved":
                latents, effective = self._moved(model, head, batch, latents, effective)
            laws = (law for law, _ in self.decoded(model, head, batch, latents))
        elif self.latents == "none":
            laws = repeated(self._at_zero(model, head, batch, self.drawn(model, batch, 1)), self.draws)
        else:
            latents = self.drawn(model, batch, self.draws)
            laws = (law for law, _ in self.decoded(model, head, batch, latents))
            if (alone := self.alone(model, head)) is not None:
                told = predicted([self._at_zero(model, alone, batch, latents)], rows, noise=False)
                return between(predicted(laws, rows, self.noise), told)
        return predicted(laws, rows, self.noise, effective)

    def alone(self, model: VAE, head: str) -> str | None:
        """The head that says what m tells alone of what a `head` explains: another that reads m and no latent, or
        itself where it is trained at z = 0 too; None where there is neither."""
        of = cast(Any, model.heads[head]).of
        for name, each in model.heads.items():
            if name != head and cast(Any, each).of == of and self._reads_m_alone(model, name):
                return name
        return head if getattr(model.heads[head], "direct", False) else None

    def _reads_m_alone(self, model: VAE, head: str) -> bool:
        read = model.plan.behind(reads(model.heads[head]))
        return self.name in read and not read & set(model.plan.latents)

    def _at_zero(self, model: VAE, head: str, batch: Values, latents: Mapping[str, Tensor]) -> Distribution:
        """What a head says of m alone, where latents, if it reads any, are zero."""
        zeros = {name: torch.zeros_like(value[:1]) for name, value in latents.items()}
        ((law, _),) = self.decoded(model, head, batch, zeros)
        return law

    def _alone_of(self, model: VAE) -> str:
        """The head that says what m tells alone of what is completed."""
        heads = [name for name, head in model.heads.items() if head.of == self.of and self.head in (None, name)]
        for name in heads:
            found = name if self._reads_m_alone(model, name) else self.alone(model, name)
            if found is not None:
                return found
        raise ValueError(
            "no head of this model is trained at z = 0 or without z: take one that is, such as arbitrary_conditioning "
            "with apart or direct"
        )

    def drawn(self, model: VAE, batch: Values, total: int) -> dict[str, Tensor]:
        """So many draws from the prior, each latent [total, n, ...]."""
        given, rows = {name: batch[name] for name in model.conditions}, len(batch[self.name])
        chunks = []
        for count in self.counts(batch, total):
            # Without conditions the prior has one row, which stands for all of the batch.
            values = model.sample_latents(given, count if given else count * rows)
            chunks.append({name: values[name].unflatten(0, (count, rows)) for name in model.plan.latents})
        return {name: torch.cat([chunk[name] for chunk in chunks]) for name in model.plan.latents}

    def _resampled(self, model: VAE, head: str, batch: Values) -> tuple[dict[str, Tensor], Tensor]:
        """Latents drawn from candidates by the likelihood of what is seen, and their effective number [n]."""
        latents = self.drawn(model, batch, 10 * self.draws if self.candidates is None else self.candidates)
        x = batch[self.of]
        seen = seen_in(batch[self.name], x)
        scores = []
        for law, count in self.decoded(model, head, batch, latents):
            scores.append(seen_score(law, x, seen, count))
        return resampled(latents, torch.cat(scores) + own_ratio(model, batch, latents), self.draws)

    def _moved(
        self, model: VAE, head: str, batch: Values, latents: Mapping[str, Tensor], effective: Tensor
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Latents moved under the law that what is seen gives them."""
        with torch.inference_mode(False), torch.no_grad():  # gradients are taken of copies
            batch, latents = ({name: value.clone() for name, value in each.items()} for each in (batch, latents))
            target = Target(self, model, head, batch, latents)
            target.check(latents)
            return hamiltonian(target, latents, effective.clone(), MOVES if self.moves is None else self.moves)

    def decoded(
        self, model: VAE, head: str, batch: Values, latents: Mapping[str, Tensor]
    ) -> Iterator[tuple[Distribution, int]]:
        """The head's law for chunks of k draws of the latents, batch shape [k n], and k."""
        start, total = 0, len(next(iter(latents.values())))
        part = cast(Any, model.heads[head]).likelihood
        # What reads no latent is computed once for all draws.
        alone = [name for name in model.plan.features if not model.plan.behind([name]) & set(model.plan.latents)]
        told = model.featured(batch, [name for name in alone if name in model.plan.behind(reads(part))])
        given = (*model.plan.known(reads(part)), *(name for name in alone if name in told))
        behind = [model.plan.reads(part) for name, part in model.features.items() if name not in alone]
        # What a feature of latents reads too has their rows.
        once = {name for name in shared(part) if not any(name in names for names in behind)}
        for count in self.counts(batch, total):
            values = {name: told[name] if name in once else repeat(told[name], count) for name in given}
            values |= {name: value[start : start + count].flatten(0, 1) for name, value in latents.items()}
            yield part(model.featured(values, reads(part), told=alone)), count
            start += count

    def counts(self, batch: Values, total: int) -> Iterator[int]:
        """The number of draws in each chunk that the decoder takes at once."""
        size = max(1, chunk_values(batch[self.of].device) // batch[self.of].numel())
        for start in range(0, total, size):
            yield min(size, total - start)

    def _blind(self, head: str, gaps: str) -> str:
        if self.latents == "posterior":
            return (
                f"nothing in this model reads the observation {self.name!r}: from x and {self.name} it would only "
                f"reconstruct x, whatever is seen. Ask for head={head!r} to have that, or train a model that reads "
                f"{self.name}, such as semi_conditional{gaps}"
            )
        return (
            f"neither prior nor likelihood of this model reads the observation {self.name!r}: what it draws would not "
            f"depend on what is seen. Take weigh='seen', which weighs draws by what is seen, fit a law of the latents "
            f"given {self.name} to it (polyvae fit-completion), or train a model that reads {self.name}, such as "
            f"semi_conditional or arbitrary_conditioning{gaps}"
        )


def reads(part: Any) -> tuple[str, ...]:
    """The names that a posterior, a prior, a likelihood or a head reads."""
    return tuple(getattr(getattr(part, "likelihood", part), "given", ()))


def sees(model: VAE, part: Any, name: str) -> bool:
    """Whether a part of a model reads the value of that name, or a feature that does."""
    return name in model.plan.behind(reads(part))
