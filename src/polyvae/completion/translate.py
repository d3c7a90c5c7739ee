"""Translation: what a model of several modalities says of some of them where others are given, whole or in part."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from polyvae.checks.names import gathered, near
from polyvae.completion.complete import CompletionSettings
from polyvae.completion.completer import reads
from polyvae.completion.predictive import Predictive, predicted
from polyvae.completion.seen import resampled, seen_score
from polyvae.data.columns.labels import KNOWN
from polyvae.data.exchange.given import part_meant, taken, tensor
from polyvae.data.exchange.several import of_frame
from polyvae.data.readers.frames import is_frame
from polyvae.data.split import Data, Split
from polyvae.evaluation.blocks import ALL, evaluating, source_of
from polyvae.evaluation.bounds import chunk_values
from polyvae.evaluation.pictures import recorded_spec
from polyvae.model.distributions.mixture import Stratified
from polyvae.model.draw import first_heads
from polyvae.model.presence import present
from polyvae.model.spec import Spec
from polyvae.model.vae import VAE, Values

SEEN, PARTLY = "_seen", "_partly"  # of what is seen of a modality in part
TOGETHER = 1000  # rows that a decoder is called with at once
CANDIDATES = 10  # times as many draws are weighed as are taken, where something is seen in part


def translate(
    source: Any,
    given: Any,
    to: str | Sequence[str] | None = None,
    draws: int = 10,
    *,
    masks: Mapping[str, Any] | None = None,
    **settings: Any,
) -> Any:
    """Every modality asked for from those that are given, by a run, a recipe or a model of several modalities.

    p(x_B | x_A) = E p(x_B | z), z ~ q(z | x_A)

    `given`: the given modalities by name, arrays, tensors or frames of as many rows; a frame with the columns of some;
    or Data or a Split, of which those in `to` are then left out. `to`: the modality asked for, or several; all that are
    not given by default. `draws`: of z, for each row. `masks`: of modalities of which some values are seen alone, 1
    where one is, as in `complete`; the encoders do not read these, and ten times as many draws of z, or `candidates`,
    are weighed by p(x_seen | z). `settings`: those of `CompletionSettings` that have to do with draws; the spread is
    that of the likelihood and of z together.

    Returns a `Completion` where `to` is one name, else one by name for each that is asked for: `samples` [S, N, ...]
    are the expected values of each draw of z. Rows are taken in blocks of 100, each with its own noise; global
    generators stay untouched. Raises ValueError for an unknown modality, one that is asked for and given whole, and for
    masks that do not fit; TypeError for an unknown setting.
    """
    asked = gathered(CompletionSettings, {"draws": draws, **settings})
    if asked.use_x or asked.weigh != "none" or asked.head is not None:
        raise ValueError("use_x, weigh and head are for completions of one x; a translation reads all that is given")
    if isinstance(source, (str, os.PathLike)):
        raise TypeError(f"a run is wanted, such as Run.load({str(source)!r}); got its path")
    model, spec = source_of(source, "heads", "decode", what="a translation").model, recorded_spec(source)
    if spec is None or not spec.modalities:
        raise ValueError("this model has one x: translate is for several modalities; complete what is seen in part")
    whole = _held(given, spec)
    targets, single = _targets(spec, whole, given, to, masks or {})
    seen = {name: _mask(name, mask, spec) for name, mask in (masks or {}).items()}
    hidden = {each for name in targets if name not in seen for each in (name, present(name))}
    values = {name: value for name, value in _values(whole).items() if name not in hidden}
    if isinstance(whole, Split):  # its codes are those of the run, where numbers in a mapping stand for labels
        split = taken(replace(whole, tensors=values), spec)
    else:
        split = taken({**values, **{name: _unseen_away(values[name], mask) for name, mask in seen.items()}}, spec)
    split = replace(split, tensors={**split.tensors, **_masked(split, seen)})
    observe = source_of(source).observe
    with evaluating(model, asked.device) as target:

        def translated(rows: slice) -> list[dict[str, tuple[Tensor, ...]]]:
            count = rows.stop - rows.start
            part = split.take(range(rows.start, rows.stop)).to(target)
            batch = _partly(observe(part.batch(torch.arange(count, device=target))), list(seen))
            size = rows_at_once(spec.values, asked.draws, target)
            parts = []
            for start in range(0, count, size):
                some = {name: value[start : start + size] for name, value in batch.items()}
                found = predictions(model, some, targets, list(seen), asked)
                parts.append(
                    {name: tuple(v.to(split.device) for v in asked.read(each)) for name, each in found.items()}
                )
            return parts

        pieces = [piece for block in ALL.each(len(split), translated, target, asked.seed) for piece in block]
    made = {name: asked.joined([piece[name] for piece in pieces]) for name in targets}
    return made[targets[0]] if single else made


def _targets(
    spec: Spec,
    held_in: Split | Mapping[str, Any],
    given: Any,
    to: str | Sequence[str] | None,
    masks: Mapping[str, Any],
) -> tuple[list[str], bool]:
    """The modalities asked for, and whether it is one alone; `held_in`: what is `given` by name."""
    known, values = list(spec.values), _values(held_in)
    allowed = {*known, *map(present, known), *(each.name for each in spec.beside), "y", KNOWN}
    if isinstance(given, Mapping) and (unknown := [name for name in values if name not in allowed]):
        said = f"{unknown[0]!r} is no modality of this run{near(str(unknown[0]), known)}; there are {', '.join(known)}"
        raise ValueError(said)
    held = [name for name in values if name in known]
    if lacking := [name for name in known if name not in values] if isinstance(given, Data) else []:
        raise ValueError(f"the modalities of this run are {', '.join(known)}; got data without {lacking[0]!r}")
    whole = [name for name in held if name not in masks]
    asked = [name for name in known if name not in whole] if to is None else [to] if isinstance(to, str) else list(to)
    for name in [*asked, *masks]:
        if name not in known:
            raise ValueError(f"the modalities are {', '.join(known)}; got {name!r}{near(str(name), known)}")
    if unseen := [name for name in masks if name not in held]:
        raise ValueError(f"masks say what is seen of a modality that is given; {unseen[0]!r} is not")
    if not asked:
        raise ValueError(
            f"all of {', '.join(known)} are given, so that nothing is left to translate to; name one in to"
        )
    if isinstance(given, Mapping) and (both := [name for name in asked if name in whole]):
        raise ValueError(f"{both[0]!r} is given, and asked for; leave it away, or reconstruct it")
    if all(name in asked and name not in masks for name in held):
        raise ValueError("a translation needs a modality that is given; sample draws all of them")
    return asked, isinstance(to, str)


def _held(given: Any, spec: Spec) -> Split | Mapping[str, Any]:
    """What is given, by name."""
    if isinstance(given, Mapping):
        return given
    if isinstance(given, (Data, Split)):
        return part_meant(given, spec)
    if is_frame(given):
        return of_frame(given, spec)
    raise ValueError("modalities are given by name, as {'mnist': pictures}; in a data frame; or as Data, or a Split")


def _values(held: Split | Mapping[str, Any]) -> Mapping[str, Any]:
    return held.tensors if isinstance(held, Split) else held


def _mask(name: str, mask: Any, spec: Spec) -> Tensor:
    """What is seen of a modality, boolean [1 or N, ...] that broadcasts to its values. ValueError for another mask."""
    shape, seen = spec.values[name].x, tensor(mask)
    seen = seen if seen.ndim == len(shape) + 1 else seen[None]
    if seen.ndim != len(shape) + 1 or any(a not in (1, b) for a, b in zip(seen.shape[1:], shape, strict=True)):
        wanted = ", ".join(map(str, ("N or 1", *((1, *shape[1:]) if len(shape) > 1 else shape))))
        raise ValueError(f"the mask of {name!r} is [{wanted}]; got {list(seen.shape)}")
    if not bool(((seen == 0) | (seen == 1)).all()):
        raise ValueError(f"the mask of {name!r} is 1 where a value is seen and 0 where it is not")
    return seen.bool()


def _unseen_away(value: Any, seen: Tensor) -> Any:
    """The values with zeros in the place of those that are not seen but where none of a row is a number: that row lacks
    the modality."""
    if is_frame(value):
        return value
    held = tensor(value).clone()
    if not held.is_floating_point() or not bool((lost := held.isnan()).any()):
        return held
    some = ~lost.flatten(1).all(1).view(-1, *[1] * (held.ndim - 1))
    seen = seen.cpu().expand(-1, *held.shape[1:]) if seen.ndim == held.ndim else seen.cpu()[:, 0]
    return held.masked_fill(lost & ~seen & some, 0.0)


def _masked(split: Split, masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What is seen of modalities in part, each in its own shape; nothing in the rows that lack it."""
    found: dict[str, Tensor] = {}
    for name, seen in masks.items():
        held, rows = split.tensors[name], len(split)
        if len(seen) not in (1, rows):
            raise ValueError(f"the mask of {name!r} has a row for each of {rows} examples, or one; got {len(seen)}")
        there = split.tensors[present(name)].view(-1, *[1] * (held.ndim - 1))
        found[f"{name}{SEEN}"] = (seen.to(held.device) & there).expand(held.shape).contiguous()
    return found


def _partly(batch: Values, names: Sequence[str]) -> dict[str, Tensor]:
    """The batch without these modalities, which encoders do not read, and their values for what is seen of them."""
    kept = {f"{name}{PARTLY}": batch[name] for name in names}
    gone = {each: torch.zeros_like(batch[each]) for name in names for each in (name, present(name))}
    return {**batch, **gone, **kept}


def rows_at_once(specs: Mapping[str, Spec], draws: int, device: torch.device) -> int:
    """How many rows have room for all their draws of the largest modality."""
    most = max(each.dimensions for each in specs.values())
    return max(1, 8 * chunk_values(device) // (draws * most))


def predictions(
    model: VAE, batch: Values, targets: Sequence[str], partly: Sequence[str], asked: CompletionSettings
) -> dict[str, Predictive]:
    """The predictive distribution of each target, of some rows; draws are weighed by modalities seen `partly`."""
    rows, count = len(next(iter(batch.values()))), asked.draws
    if partly:
        count = CANDIDATES * count if asked.candidates is None else asked.candidates
    draw = model.infer(batch, count)
    stratified = any(isinstance(latent.q, Stratified) for latent in draw.latents.values())
    # Draws of several experts come expert by expert, and the first few of them would be one expert's.
    order = torch.randperm(count, device=next(iter(batch.values())).device)
    latents = {name: draw.values[name].unflatten(0, (-1, rows))[order] for name in model.plan.latents}
    heads = {str(model.heads[name].of): name for name in first_heads(model.heads)}
    effective = None
    if partly:
        score = [
            _score(model, heads[name], latents, batch[f"{name}{PARTLY}"], batch[f"{name}{SEEN}"]) for name in partly
        ]
        latents, effective = resampled(latents, torch.stack(score).sum(0), asked.draws)
    return {
        name: predicted(
            (law for law, _ in _laws(model, heads[name], latents)),
            rows,
            asked.noise,
            effective,
            stratified and not partly,
        )
        for name in targets
    }


def _laws(model: VAE, head: str, latents: Mapping[str, Tensor]) -> Iterator[tuple[Distribution, int]]:
    """The head's law of chunks of k draws of the latents [K, n, ...], batch shape [k n], and k."""
    draws, rows = next(iter(latents.values())).shape[:2]
    size = max(1, TOGETHER // rows)
    for start in range(0, draws, size):
        mine = {name: z[start : start + size].flatten(0, 1) for name, z in latents.items()}
        yield model.heads[head](model.featured(mine, reads(model.heads[head]))), min(size, draws - start)


def _score(model: VAE, head: str, latents: Mapping[str, Tensor], x: Tensor, seen: Tensor) -> Tensor:
    """log p of what is seen of x [n, ...] at draws of the latents [K, n, ...], [K, n]."""
    return torch.cat([seen_score(law, x, seen, count) for law, count in _laws(model, head, latents)])
