"""Values of modalities made out of others, and out of the prior, as the classes that judges see in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from polyvae.checks.ranges import at_least
from polyvae.data.cuts import shuffled
from polyvae.data.split import Split
from polyvae.evaluation.blocks import Blocks, device_of, evaluating
from polyvae.evaluation.modalities.given import having, only
from polyvae.evaluation.modalities.judges import Judge
from polyvae.model.laws import centre
from polyvae.model.presence import PRESENT
from polyvae.model.spec import Spec
from polyvae.model.vae import VAE

Translate = Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]  # values given [B, ...] -> values made [B, ...]
JOINT = (2,)  # the stream of draws of the prior


@dataclass(frozen=True)
class Judged:
    """What a judge sees in N values that were made: the likeliest class [N] and, of pictures, features [N, d].

    `rows`: of which row of a split each was made, [N]; None of those of the prior.
    """

    classes: Tensor
    features: Tensor | None
    rows: Tensor | None = None


class Translator:
    """Values of every modality made by a model out of those that are given, one draw for each row.

    z ~ q(z | x_A), then the expected x_m under p(x_m | z), or the likeliest one where there is no mean; grey levels are
    clamped to [0, 1]. What is not given is not shown to the model in any way, labels neither. `specs`: of the
    modalities. ValueError for a model that reads more than modalities.
    """

    def __init__(self, source: Any, specs: Mapping[str, Spec]) -> None:
        self.source, self.specs = only(source, specs, tuple(specs)), dict(specs)
        self.model: VAE = self.source.model
        if more := [name for name in self.model.inputs if name not in specs and not name.endswith(PRESENT)]:
            raise ValueError(f"a model of modalities alone is wanted; this one reads {more[0]!r} too")

    @property
    def device(self) -> torch.device:
        """Where the model lies, whose noise follows from a seed."""
        return device_of(self.model)

    def __call__(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        with evaluating(self.model) as device:
            held = {name: value.to(device) for name, value in values.items()}
            draw = self.model.infer(only(self.source, self.specs, tuple(values)).observe(held))
            return self._shown(self.model.decode(draw.values))

    def drawn(self, count: int, pixels: bool = False) -> dict[str, Tensor]:
        """Values [count, ...] of every modality at draws of the prior; with `pixels` drawn themselves, not expected."""
        with evaluating(self.model):
            return self._shown(self.model.generate(count=count), pixels)

    def _shown(self, laws: Mapping[str, Any], pixels: bool = False) -> dict[str, Tensor]:
        made: dict[str, Tensor] = {}
        for head, law in laws.items():
            of = str(self.model.heads[head].of)
            if of not in made and of in self.specs:
                value = law.sample() if pixels else centre(law)
                made[of] = value.clamp(0, 1) if self.specs[of].grey else value
        return made


def translated(
    translate: Translate,
    split: Split,
    given: Sequence[str],
    judges: Mapping[str, Judge],
    draws: int = 10_000,
    seed: int = 0,
) -> dict[str, Judged]:
    """What the judges see in what is made out of the modalities `given`, at `draws` rows of a split.

    The rows, of those that have all that is given, come in a seeded order, over again where they are fewer. Nothing
    depends on a batch size: what is random follows from the seed and the block of 100 draws. ValueError below one draw.
    """
    at_least("draws", draws, 1, "values that are made")
    held = having(split, given)
    order = shuffled(len(held), seed).to(held.device)
    rows = order[torch.arange(draws, device=held.device) % len(held)]

    def made(block: slice) -> dict[str, tuple[Tensor, Tensor | None]]:
        batch = held.batch(rows[block])
        found = translate({name: batch[name] for name in given})
        return {name: judges[name](value) for name, value in found.items() if name in judges}

    device = getattr(translate, "device", held.device)  # a function of its own knows no device
    return _gathered(Blocks().each(draws, made, device, seed), rows.cpu())


def drawn_jointly(
    translator: Translator, judges: Mapping[str, Judge], draws: int = 10_000, seed: int = 0
) -> dict[str, Judged]:
    """What the judges see in every modality at so many draws of the prior. ValueError below one draw."""
    at_least("draws", draws, 1, "values that are made")
    with evaluating(translator.model) as device:

        def made(block: slice) -> dict[str, tuple[Tensor, Tensor | None]]:
            found = translator.drawn(block.stop - block.start)
            return {name: judges[name](value) for name, value in found.items() if name in judges}

        return _gathered(Blocks(stream=JOINT).each(draws, made, device, seed), None)


def _gathered(parts: list[dict[str, tuple[Tensor, Tensor | None]]], rows: Tensor | None) -> dict[str, Judged]:
    found = {}
    for name in parts[0]:
        features = [part[name][1] for part in parts]
        kept = [each for each in features if each is not None]
        found[name] = Judged(torch.cat([part[name][0] for part in parts]), torch.cat(kept) if kept else None, rows)
    return found
