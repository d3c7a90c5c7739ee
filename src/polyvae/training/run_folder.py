"""The folder of a run in training: whose it is, whether it may be gone on with, what a failed start leaves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from polyvae.checks.finite import NonFiniteError
from polyvae.data.files.sealed import read_values
from polyvae.data.files.writing import held
from polyvae.recipes.catalogue import current
from polyvae.training.description import differing, part_differences
from polyvae.training.settings import Settings
from polyvae.training.store import (
    DESCRIPTION,
    METRICS,
    STATE,
    WEIGHTS,
    RunError,
    read_description,
    write_description,
    writing,
)

LOCK, FAILURE = ".lock", ".failure.json"


@contextmanager
def trained_in(
    folder: Path, description: dict[str, Any], settings: Settings, resume: bool, closed: bool
) -> Iterator[dict[str, Any]]:
    """Holds the folder for this process alone and yields the description of the run in it, a new one or the recorded.

    `resume`: go on with the run there. `closed`: it is fitted in a closed form, so that no state is asked for.

    A start that fails before its first step leaves nothing behind, so that the corrected one may take the folder.
    Raises RunError for a folder that is being trained in, holds something else or cannot be written.
    """
    _check_free(folder)
    new = not begun(folder)
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        with ExitStack() as until:
            _hold(folder, until)
            try:
                yield _opened(folder, description, settings, resume, closed)
            except NonFiniteError:  # there the state shows what came before
                raise
            except Exception:
                if new and not _stepped(folder):
                    _clear(folder, [DESCRIPTION, STATE, FAILURE])
                raise
    finally:
        for place in made:
            with suppress(OSError):
                place.rmdir()  # only if nothing was put into it


def begun(folder: Path) -> bool:
    """Whether a run lies there, and not what one that was killed before its first state has left of itself."""
    made = any((folder / name).exists() for name in (STATE, WEIGHTS, METRICS))
    return made and (folder / DESCRIPTION).exists()


def check_start(folder: Path, resume: bool) -> None:
    """RunError for a folder that holds something else, or a run that is being trained or is not to be gone on with."""
    if begun(folder) and not resume:
        with ExitStack() as until:  # what is being trained there says so first
            _hold(folder, until)
    _check_new(folder, resume)


def _check_new(folder: Path, resume: bool) -> None:
    _check_free(folder)
    if begun(folder) and not resume:
        raise RunError(f"{folder} already holds a run; resume it, or choose another folder")


def _hold(folder: Path, until: ExitStack) -> None:
    """Keeps other processes from training in the folder. Raises RunError that names the one that does."""
    with writing(folder):
        try:
            until.enter_context(held(folder / LOCK, wait=False))
        except BlockingIOError as error:
            raise RunError(
                f"{folder} is being trained by {error.strerror}: wait for it or stop it, or choose another folder"
            ) from None


def _check_free(folder: Path) -> None:
    if (folder / DESCRIPTION).exists() or not folder.exists():
        return
    if not folder.is_dir() or any(path.name[0] != "." for path in folder.iterdir()):
        raise RunError(f"{folder} holds other files; choose an empty or a new folder for the run")


def _opened(
    folder: Path, description: dict[str, Any], settings: Settings, resume: bool, closed: bool
) -> dict[str, Any]:
    """Starts a run folder, or checks that it holds the same run."""
    _check_new(folder, resume)
    if not (folder / DESCRIPTION).exists() or not (resume or begun(folder)):
        _clear(folder, [])
        write_description(folder, description)
        return description
    if (folder / WEIGHTS).exists() and not (folder / STATE).exists() and not closed:
        raise RunError(f"{folder} was saved without the state to resume from; train again in another folder")
    recorded = read_description(folder)
    _check_same(folder, recorded, description, settings)
    _clear(folder, [])
    if recorded["settings"] != description["settings"]:
        recorded["settings"] = description["settings"]
        write_description(folder, recorded)
    return recorded


def _check_same(folder: Path, recorded: dict[str, Any], description: dict[str, Any], settings: Settings) -> None:
    """RunError where the folder holds another run, with what to do where only the epochs of a schedule differ."""
    differences = settings.differences(recorded["settings"])
    for part in ("recipe", "data"):
        known = recorded.get(part)
        known = current(known) if part == "recipe" and known else known
        if known != description[part]:
            then, now = differing(known, description[part])
            differences.append(f"{part}: {then} then, {now} now")
    differences += part_differences(recorded, description)
    if not differences:
        return
    told = f"{folder} holds another run and cannot be resumed with these: {'; '.join(differences)}"
    epochs = recorded["settings"].get("epochs")
    if differences == [f"epochs: {epochs} then, {settings.epochs} now"]:
        told += (
            f". Its {settings.schedule} schedule takes the learning rate to zero at epoch {epochs}, so another number "
            f"of epochs is another run from its first step: train one of {settings.epochs} epochs in a new folder, "
            "with a constant schedule if it is to go on later"
        )
    raise RunError(told)


def _stepped(folder: Path) -> bool:
    """Whether there is something to go on from."""
    if (folder / METRICS).exists() or (folder / WEIGHTS).exists():
        return True
    try:
        return read_values(folder / STATE).get("step", 0) > 0
    except Exception:  # absent or broken: nothing, whatever is wrong with it
        return False


def _clear(folder: Path, names: list[str]) -> None:
    """Removes these files, and what we or safetensors had half written when a run was killed."""
    halves = [f".{name}*.part" for name in (DESCRIPTION, WEIGHTS, STATE, METRICS, FAILURE)]
    for pattern in (*names, *halves, ".tmp??????"):
        for left in folder.glob(pattern):
            left.unlink(missing_ok=True)
