"""What a recipe's networks read beside x: labels, vectors and pictures by name, which may be hidden."""

from __future__ import annotations

from polyvae.model.conditions import Shown
from polyvae.model.networks import Shape, conv
from polyvae.model.networks.layers import is_picture
from polyvae.model.parts import Feature
from polyvae.model.spec import Beside, Spec
from polyvae.observe.conditions import Known
from polyvae.observe.transforms import Chain, OneHot, Transform, chain
from polyvae.recipes.options import Conditions, Gaussian
from polyvae.recipes.parts import CONDITIONAL

CODE = 32  # numbers that stand for a picture of other sides than x


class Condition:
    """What a model reads beside x: `shapes` by the names that parts read, the `features` and the transform of these.

    Labels become vectors. A condition that may be hidden is read through a feature that says whether it is, and so is
    the code of a picture: with `maps`, of one whose sides are not those of x. A conditional prior of the `latent` alone
    reads y too, its posterior and decoders do not.
    """

    def __init__(self, spec: Spec, wanted: Conditions, latent: object = None, maps: bool = False) -> None:
        names = conditioned(wanted)
        alone = () if names or not (isinstance(latent, Gaussian) and latent.prior == CONDITIONAL) else ("y",)
        if wanted.dropped is not None and not names:
            raise ValueError("dropped hides what a model reads beside x; give condition too")
        self.shapes: dict[str, Shape] = {}
        self.features: dict[str, Shown | Feature] = {}
        found = [held(spec, name, "prior: a conditional one" if alone else "condition") for name in names or alone]
        for each in found if names else ():
            self._read(each, wanted.dropped, maps and is_picture(spec.x) and each.read[1:] == spec.x[1:])
        # pictures of x's sides come last, where a decoder meets them
        self.shapes = dict(sorted(self.shapes.items(), key=lambda each: is_picture(each[1])))
        self.maps = any(map(is_picture, self.shapes.values()))
        steps = [_observed(each, wanted.dropped is not None) for each in found]
        self.observe: Chain = chain(*steps)

    def _read(self, each: Beside, dropped: float | None, met: bool) -> None:
        """Enters what parts read of a condition."""
        shape, coded = each.read, is_picture(each.read) and not met
        if dropped is not None:
            shape = (shape[0] + 1, *shape[1:])
        net = conv((shape,), (CODE,), (16, 32), "group") if coded else None
        name = each.name if dropped is None and net is None else f"{each.name}_read"
        if dropped is not None:
            self.features[name] = Shown(each.name, dropped, net)
        elif net is not None:
            self.features[name] = Feature(net, each.name)
        self.shapes[name] = (CODE,) if coded else shape


def conditioned(wanted: Conditions) -> tuple[str, ...]:
    """The names of the conditions. ValueError for anything else."""
    names = wanted.names
    if isinstance(names, (bool, str)):
        names = names.replace(" ", "").split(",") if isinstance(names, str) else ["y"] * names
    if not all(isinstance(name, str) and name for name in names) or len(set(names)) < len(names):
        raise ValueError(f"condition is True, or the names of values beside x, each once; got {wanted.names!r}")
    return tuple(names)


def held(spec: Spec, name: str, reads: str) -> Beside:
    """What the data hold under a name. ValueError where they hold nothing."""
    if name in spec.given:
        return spec.given[name]
    if name != "y":
        held = f"they hold {', '.join(spec.given)}" if spec.given else "they hold x alone"
        raise ValueError(f"condition: these data have no value {name!r} beside x; {held}")
    raise ValueError(f"{reads} needs labels or vectors y; {unlabelled(spec)}")


def unlabelled(spec: Spec) -> str:
    """That the data have no labels, and which columns may be."""
    columns = [column.name for column in spec.columns if column.kind == "category" and column.name]
    way = f": load them with {' or '.join(f'label={each!r}' for each in columns[:3])}" if columns else ""
    return f"these data have none{way}"


def _observed(each: Beside, may_hide: bool) -> Transform | None:
    labelled = each.classes is not None
    if may_hide:
        return Known(each.name, each.read, labelled)
    return OneHot(each.name, each.classes) if each.classes is not None else None
