"""What a trained recipe can be asked: codes, reconstructions, bounds, samples, completions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from polyvae.checks.ranges import Amount, Count, Seed, ranged
from polyvae.completion.complete import Completion, complete
from polyvae.completion.impute import Imputation, imputed, imputing_head
from polyvae.completion.masked import masked
from polyvae.completion.translate import translate
from polyvae.data.exchange.codes import check_values, named
from polyvae.data.exchange.filled import filled_in
from polyvae.data.exchange.given import conditions, labels_in, present, taken, tensor
from polyvae.data.exchange.partial import pictured
from polyvae.data.exchange.returned import empty_frame, kind_of, labelled, like_of, returned
from polyvae.data.memory_maps import Rows
from polyvae.data.readers.frames import is_frame
from polyvae.data.split import Split
from polyvae.evaluation.blocks import ALL, check_known, each_block, evaluating, joined
from polyvae.evaluation.bounds import both_bounds
from polyvae.evaluation.classes import labelled_latent
from polyvae.evaluation.refine import refined
from polyvae.model import presence
from polyvae.model.conditions import dispensable
from polyvae.model.distributions.codes import CodeLaw
from polyvae.model.draw import first_heads
from polyvae.model.laws import centre
from polyvae.model.parts import apart
from polyvae.model.spec import Column, Spec
from polyvae.model.vae import VAE, Values
from polyvae.recipes import Recipe
from polyvae.training.answers import check_latents, one_hot, only, told

PLAIN = 32  # draws of the latents for a plain bound: it is an expectation, which more of them only make less noisy


class Trained:
    """A trained recipe and what can be asked of it; `Run` is one with a history and a place.

    What its methods are given as x: a tensor, an array, a DataFrame, anything that `fit` takes, [N, ...] examples of
    the shape that it was trained on; bytes are read as grey levels in [0, 1]. `y`: labels or vectors of a conditional
    model, `given`: what else it reads, by name. They return tensors for tensors, on the same device, and arrays
    otherwise, without gradients. They leave the model's mode and the global generators as they were, go through x in
    blocks of 100 and return the same at every call. All raise ValueError for another shape, a condition not given and,
    but for `score`, which is -inf there, values that are not of their column's kind.
    """

    recipe: Recipe
    description: dict[str, Any]  # what `run.json` holds

    @property
    def model(self) -> VAE:
        """The model with its best weights."""
        return self.recipe.model

    @property
    def spec(self) -> Spec | None:
        """What the model knows of its data; None where nothing recorded it."""
        record = self.description.get("spec") or (self.recipe.call or {}).get("spec")
        return None if record is None else Spec.from_dict(record)

    @ranged
    def encode(
        self, x: Any, y: Any = None, given: Mapping[str, Any] | None = None, refine: Amount = 0, seed: Seed = 0
    ) -> Any:
        """The posterior means of x, [N, d]; integer codes of a quantised latent; of several latents a dict by name.

        `refine`: first so many gradient steps on each example's posterior, see `polyvae.evaluation.refined`, whose
        draws follow from `seed`.
        """

        def measure(model: VAE, batch: Values) -> dict[str, Tensor]:
            found: dict[str, Tensor] = {}
            model = refined(model, batch, refine)[0] if refine else model
            for name, q in model.encode(batch).items():
                coded = isinstance(q, CodeLaw)
                found |= {name: q.codes} if coded else apart(model.posterior[name], name, centre(q))
            return found

        split = self._inside(x, y, given)
        found = joined(each_block(self, split, measure, seed))
        return only({name: returned(value, kind_of(x)) for name, value in found.items()})

    def decode(self, z: Any, y: Any = None, given: Mapping[str, Any] | None = None) -> Any:
        """The expected x at latents z [N, d], [N, ...]; codes are integers, several latents a dict by name."""
        names = self.model.plan.latents
        latents = dict(z) if isinstance(z, Mapping) else {names[0]: z}
        if set(latents) != set(names):
            raise ValueError(f"the model's latents are {list(names)}; got {list(latents)}")
        others = self._conditions(y, given)
        values = {name: tensor(value) for name, value in latents.items()}
        if len({len(value) for value in (*values.values(), *others.values())}) > 1:
            lengths = {name: len(value) for name, value in {**values, **others}.items()}
            raise ValueError(f"as many rows of every value; got {lengths}")
        split, like = Split({**values, **others}), next(iter(latents.values()))
        check_latents(self, split, self._need)
        return self._expected(split, lambda model, batch: model.decode(batch), kind_of(like), present)

    def reconstruct(self, x: Any, y: Any = None, given: Mapping[str, Any] | None = None) -> Any:
        """The expected x at the posterior means, laid out as x: of a DataFrame one with its index and columns."""
        return self._expected(self._inside(x, y, given), lambda model, batch: model.reconstruct(batch), x)

    @ranged
    def score(
        self,
        x: Any,
        y: Any = None,
        given: Mapping[str, Any] | None = None,
        samples: Count | None = None,
        seed: Seed = 0,
    ) -> Any:
        """A lower bound on log p(x) of every example, nats, float64 [N].

        The plain bound, or with `samples` K the importance-weighted one at K draws of the latents, which rises to
        log p(x) with K. The draws follow from `seed`. -inf outside a likelihood's support.
        """
        found = both_bounds(self, self._taken(x, y, given), PLAIN if samples is None else samples, seed)
        return returned(found.plain if samples is None else found.importance, kind_of(x))

    @ranged
    def sample(
        self,
        count: Count = 1,
        y: Any = None,
        given: Mapping[str, Any] | None = None,
        seed: Seed = 0,
        expected: bool = False,
        guidance: float = 1.0,
    ) -> Any:
        """Draws from the model: x ~ p(x | z) at z ~ p(z), [count, ...]; with `expected`, E[x | z] in its place.

        Of a conditional model, and of one whose latent is the label, `count` for each row of `y` and `given`, all rows
        for the first draw, then for the second; what it has learned to do without may be left away. `guidance`: w, of
        such a model: its laws are proportional to p(. | y)^w p(.)^(1 - w). The same ones for the same `seed`. A run on
        a data frame, or on a file of named columns where pandas is installed, gives a frame, with the column of labels
        that `y` asks for, unless it is given tensors.
        """
        model, others = self.model, self._conditions(y, given)
        told = others.get("y")
        label = {} if told is None or not labelled_latent(model) else {"y": one_hot(model, others.pop("y"))}
        if unread := sorted(set(others) - set(model.conditions) - set(model.inputs)):
            raise ValueError(f"the model reads no {', '.join(unread)}; leave it away")
        total = count * max((len(value) for value in (*others.values(), *label.values())), default=1)
        with evaluating(model) as device:
            rows = {name: value.to(device) for name, value in present(self.recipe.observe)(others).items()}
            fixed = {name: value.to(device) for name, value in label.items()}
            self._need(set(model.conditions) - set(rows))

            def made(block: slice) -> dict[str, Tensor]:
                index = torch.arange(block.start, block.stop, device=device)
                batch, known = ({name: z[index % len(z)] for name, z in each.items()} for each in (rows, fixed))
                laws = model.generate(batch, 1 if batch or known else len(index), known, guidance)
                chosen = {model.heads[name].of: laws[name] for name in first_heads(model.heads) if name in laws}
                return {of: p.mean if expected else p.sample() for of, p in chosen.items()}  # pyright: ignore

            drawn = joined(ALL.each(total, made, device, seed))
        like = kind_of(y if y is not None else next(iter((given or {}).values()), None))
        like = empty_frame(self._library) if like is None else like
        mine = {name: returned(x, like, 0, self._columns_of(name), drawn=not expected) for name, x in drawn.items()}
        found = only(mine)
        named_labels = self.spec is not None and self.spec.classes and self.spec.label
        asked = named_labels and told is not None and told.ndim == 1 and is_frame(found)
        return labelled(found, told, self.spec) if asked else found  # pyright: ignore[reportArgumentType]

    def complete(
        self,
        x: Any,
        mask: Any = None,
        y: Any = None,
        given: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> Completion:
        """What the model says of values that are not seen, by `polyvae.complete`, in the kind and layout of x.

        `mask`: 1 where a value of x is seen, a row for each example or one for all; without one, what is not a number
        is unknown. Of a run that reads sensors between points x is what they read. Categories are given as the data
        call them and come back so, in arrays text as codes. Seen values have the model's word too:
        `frame.fillna(found.mean)` keeps yours. `settings`: those of `CompletionSettings`.
        """
        if self.spec is not None and self.spec.modalities:
            raise ValueError("this is a run of several modalities: run.translate(given, to, masks=...) completes them")
        seen, mask = (x, mask) if masked(self).sensors is not None else pictured(x, self.spec, mask)
        y = labels_in(x, self.spec) if y is None and "y" in self.model.conditions else y
        others = self._conditions(y, given, gaps=True)
        return told(complete(self, seen, mask, given=others, **settings), x, "x", self._columns)

    @ranged
    def impute(
        self,
        x: Any,
        y: Any = None,
        given: Mapping[str, Any] | None = None,
        samples: Count = 1000,
        draws: Amount = 0,
        seed: Seed = 0,
    ) -> Imputation:
        """x with its missing values filled in by a run of `incomplete`, see `polyvae.completion.imputed`.

        Missing is what is not a number, masked, or an empty cell. `samples`: K, the draws of the latents that are
        weighed. `draws`: how many imputations are drawn, beside the expected one. All are of the type of x, a data
        frame with its index, its other columns and its dtypes; what is observed stays as it is.
        """
        imputing_head(self.model)
        split = self._inside(x, y, given)
        found = imputed(self, split, samples, draws, seed)
        label, seen = None if self.spec is None else self.spec.label, split.tensors.get("seen")
        several = found.get("draws")
        rows = [] if several is None else list(several.unbind(1))
        whole, *others = (filled_in(x, values, self._columns, label, seen) for values in (found["expected"], *rows))
        return Imputation(whole, tuple(others), returned(found["effective"], kind_of(x)))

    def translate(
        self,
        given: Any,
        to: str | Sequence[str] | None = None,
        draws: Count = 10,
        masks: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> Any:
        """What the model says of modalities that are not given, see `polyvae.translate`, in the type of what is."""
        found = translate(self, given, to, draws, masks=masks, **settings)
        if isinstance(found, Completion):
            return told(found, given, str(to), self._columns_of(str(to)))
        return {name: told(each, given, name, self._columns_of(name)) for name, each in found.items()}

    @property
    def _library(self) -> str | None:
        """The library whose frames are given back: that of the data, pandas for a file of named columns."""
        data = self.description.get("data", {})
        return data.get("frame") or ("pandas" if data.get("call") and named(self._columns) else None)

    @property
    def _columns(self) -> tuple[Column, ...]:
        return () if self.spec is None else self.spec.columns

    def _columns_of(self, name: str) -> tuple[Column, ...]:
        return () if self.spec is None else self.spec.values.get(name, self.spec).columns

    def _taken(self, x: Any, y: Any, given: Mapping[str, Any] | None) -> Split:
        split = taken(x, self.spec, y, given, gaps="seen" in self.model.inputs)
        self._need({"y"} & set(self.model.inputs) - set(split.tensors) - self._spared)
        return split

    def _inside(self, x: Any, y: Any, given: Mapping[str, Any] | None) -> Split:
        """The same of values that a network can read: those of their column's kind."""
        split = self._taken(x, y, given)
        if not isinstance(split.tensors, Rows):  # of these `fit` and `wrap` have seen all
            for name in split.tensors.keys() & ({} if self.spec is None else self.spec.values):
                if columns := self._columns_of(name):
                    there = split.tensors.get(presence.present(name), slice(None))
                    check_values(split.tensors[name][there], columns)
        return split

    def _conditions(self, y: Any, given: Mapping[str, Any] | None, gaps: bool = False) -> dict[str, Tensor]:
        others = conditions(self.spec, y, given, gaps)
        check_known(self.model, others)
        self._need({"y"} & set(self.model.conditions) - set(others) - self._spared)
        return others

    @property
    def _spared(self) -> set[str]:
        """The conditions that the model has learned to do without."""
        return set(dispensable(self.model.inputs))

    def _need(self, missing: set[str]) -> None:
        if missing:
            name = sorted(missing)[0]
            how = "y=" if name == "y" else f"given={{{name!r}: ...}}"
            raise ValueError(f"the model also reads {sorted(missing)}; give {how}")

    def _expected(
        self,
        split: Split,
        laws: Callable[[VAE, Values], Any],
        like: Any,
        seen: Callable[[Any], Any] = lambda observe: observe,
    ) -> Any:
        """The means of the heads that count, by what they are of."""

        def measure(model: VAE, batch: Values) -> dict[str, Tensor]:
            found = laws(model, batch)
            heads = {name: model.heads[name].of for name in first_heads(model.heads) if name in found}
            return {of: found[name].mean for name, of in heads.items()}  # pyright: ignore

        source = replace(self.recipe, observe=seen(self.recipe.observe))
        found = joined(each_block(source, split, measure))
        return only(
            {name: returned(value, like_of(like, name), 0, self._columns_of(name)) for name, value in found.items()}
        )
