"""Where a run is resumed: everything that its next step depends on, saved in one file and taken up again.

The shuffle of an epoch and the noise of a step depend on the seed and their number alone, so the state is the weights,
the optimiser's moments, the epoch's sums and a few numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor

from polyvae.model.sized import resize
from polyvae.training.optimizer import moments, numbers_of, put_back
from polyvae.training.store import STATE, WEIGHTS, RunError, copy_tensors, read_tensors, unique_tensors, write_tensors

if TYPE_CHECKING:
    from polyvae.training.loop import Loop

Groups = dict[str, dict[str, Tensor]]


def save_state(loop: Loop) -> None:
    """Writes the state into the run folder. Raises RunError, with what was there before intact."""
    assert loop.folder is not None
    groups = {**_groups(loop), "optimizer": moments(loop.optimizer), "totals": {"": loop.meter.totals()}}
    tensors = {f"{group}/{name}": tensor for group, named in groups.items() for name, tensor in named.items()}
    write_tensors(loop.folder / STATE, tensors, _numbers(loop))


def restore_state(loop: Loop) -> None:
    """Continues from the saved state. Raises RunError where it is not one of this run."""
    assert loop.folder is not None
    path, mine = loop.folder / STATE, _groups(loop)
    tensors, numbers = read_tensors(path)
    numbers = {"spent": 0.0, **numbers}  # which runs had none of that were made before there were minutes
    theirs: Groups = {group: {} for group in (*mine, "optimizer", "totals")}
    for name, tensor in tensors.items():
        group, _, rest = name.partition("/")
        theirs.setdefault(group, {})[rest] = tensor
    if (
        set(theirs) != {*mine, "optimizer", "totals"}
        or set(numbers) != set(_numbers(loop))
        or "" not in theirs["totals"]
    ):
        raise RunError(f"{path} does not hold the state of such a run; restore it, or train again elsewhere")
    _resize(loop, theirs)
    mine = _groups(loop)
    for group, held in mine.items():
        copy_tensors(held, theirs[group], path)
    if numbers["step"]:
        put_back(loop.optimizer, theirs["optimizer"], numbers.get("optimizer", {}), path)
    loop.meter.restore(numbers["names"], theirs["totals"][""])
    for name in ("epoch", "batch", "step", "seconds"):
        setattr(loop, name, numbers[name])
    loop.budget.before = numbers["spent"]
    loop.settled = numbers.get("settled")
    loop.best.epoch, loop.best.value = numbers["best_epoch"], numbers["best_value"]
    loop.history.rows = numbers["history"]
    if numbers["scaler"]:
        loop.fabric.strategy.precision.scaler.load_state_dict(numbers["scaler"])
    if loop.best.epoch:
        _repair(loop)


def _resize(loop: Loop, theirs: Groups) -> None:
    """Gives the parts of a run of an earlier version the buffers that they had."""
    resize(loop.plain, theirs["step"])
    if loop.best.average is not None:
        resize(loop.best.model, theirs["average"])
    loop.best.tensors = {name: tensor.clone() for name, tensor in unique_tensors(loop.best.model).items()}


def _groups(loop: Loop) -> Groups:
    """The tensors of the state, by what they belong to, but for the optimiser's."""
    average = {} if loop.best.average is None else {"average": unique_tensors(loop.best.model)}
    return {"step": unique_tensors(loop.plain), **average, "best": loop.best.tensors}


def _numbers(loop: Loop) -> dict[str, Any]:
    """What of the state is no tensor, for JSON."""
    scaler = getattr(loop.fabric.strategy.precision, "scaler", None)
    return {
        "epoch": loop.epoch,
        "batch": loop.batch,
        "step": loop.step,
        "best_epoch": loop.best.epoch,
        "best_value": loop.best.value,
        "seconds": loop.seconds,
        "spent": loop.budget.spent,
        "history": loop.history.rows,
        "names": loop.meter.names,
        "scaler": scaler.state_dict() if scaler else None,
        **({} if loop.settles is None else {"settled": loop.settled}),
        **({} if loop.hooks.optimizer is None else {"optimizer": numbers_of(loop.optimizer)}),
    }


def _repair(loop: Loop) -> None:
    """Writes metrics and weights again where what lies beside the state is not what it holds."""
    if loop.folder is None or not loop.fabric.is_global_zero:
        return
    loop.history.write()
    try:
        read_tensors(loop.folder / WEIGHTS)
    except RunError:
        loop.best.write()
