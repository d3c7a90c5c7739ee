"""A run folder opened from the command line: its recipe, its weights and the data it was trained on."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from errno import ENOTDIR
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import torch

from polyvae import data
from polyvae.cli.reading import UsageError
from polyvae.data import Data, Split
from polyvae.data.exchange.codes import retold
from polyvae.data.files.writing import check_regular
from polyvae.data.history import remembered
from polyvae.model.spec import Spec
from polyvae.model.weights import check_weights
from polyvae.training.description import check_known
from polyvae.training.run import Run
from polyvae.training.store import DESCRIPTION, WEIGHTS, RunError, read_description


@dataclass(frozen=True)
class Opened:
    """A run with its best weights; its data, cut as they were for training, are loaded when first asked for."""

    run: Run
    folder: Path
    data_dir: Path | None

    @cached_property
    def data(self) -> Data:
        """The data of the recorded call, without the notes that were read when it was trained. Raises DataError.

        As the run read them, said so, where a file has other columns, categories or labels by now.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", data.DataNote)
            found = recorded_data(self.folder, self.run.description["data"], self.data_dir)
        made = retold(found, self.run.spec)
        if made is not found:
            said = "other columns or labels than when this run was trained; they are read by name"
            print(f"polyvae: note: {found.name} has {said}, and its parts are cut anew", file=sys.stderr)
        return remembered(made, self.run.recipe.observe)

    @property
    def specs(self) -> dict[str, Spec]:
        """What is observed, by name; nothing where the run does not say."""
        return {} if self.run.spec is None else self.run.spec.values

    @property
    def several(self) -> bool:
        """Whether the run is of several modalities."""
        return self.run.spec is not None and bool(self.run.spec.modalities)

    def title(self, part: str) -> str:
        """What a report on that part is of."""
        return f"{self.folder}: {self.run.description['recipe']['name']} on the {part} part of {self.data.name}"

    def split(self, wanted: str | None) -> tuple[str, Split]:
        """The part of that name; by default the test part, or the validation part where no test part was cut."""
        if wanted is None:
            wanted = "test" if len(self.data.test) else "validation"
            if wanted == "validation":
                print("polyvae: note: there is no test part; the validation part is taken", file=sys.stderr)
        split: Split = getattr(self.data, wanted)
        if not len(split):
            raise ValueError(f"the {wanted} part of {self.data.name} is empty; choose another with --split")
        return wanted, split


def opened(folder: Path, data_dir: Path | None = None, several: bool = False) -> Opened:
    """The run in a folder, by what it recorded. Raises RunError, NonFiniteError where its weights are of no use.

    `several`: whether the command is for runs of several modalities too; ValueError for one of these where it is not.
    """
    described(folder)
    run = Run.load(folder)
    if not several and run.spec is not None and run.spec.modalities:
        raise ValueError(
            f"{folder} is a run of several modalities, {', '.join(run.spec.values)}, and this command is for one x; "
            "for several there are polyvae translate, evaluate, sample, reconstruct, figures and fit-prior"
        )
    check_weights(run.model, str(folder / WEIGHTS))
    return Opened(run, folder, data_dir)


def described(folder: Path) -> dict[str, Any]:
    """`run.json`, with the parts that are needed to open the run again. Raises RunError."""
    description = read_description(folder)
    if not isinstance(description.get("data"), dict):
        raise RunError(f"{folder / DESCRIPTION} does not describe a run; restore it, or train again")
    if not isinstance(description.get("recipe"), dict):
        raise RunError(f"{folder / DESCRIPTION} records no recipe by name; open it in Python: Run.load(folder, recipe)")
    check_known(folder, description)
    return description


def chosen_prior(run: Run, prior: str | None, temperature: float = 1.0, top_k: int | None = None) -> Run:
    """The run with the learned prior of its folder or its own: "learned", "own" or "uniform", None for what there is.

    Raises RunError where there is none, ValueError for a `temperature` or `top_k` that no PixelCNN draws with.
    """
    from polyvae.training.second_stage import has_prior, sharpened, unfinished, with_prior

    if prior in (None, "learned") and (note := unfinished(run)) is not None:
        print(f"polyvae: note: {note}", file=sys.stderr)
    if prior == "learned":
        run = with_prior(run)
    elif prior is None and run.folder is not None and has_prior(run.folder):
        try:
            run = with_prior(run)
        except RunError as error:
            raise RunError(f"{error}; sample, complete and evaluate go without by --code-prior own") from error
    return run if (temperature, top_k) == (1.0, None) else sharpened(run, temperature, top_k)


def completing(run: Run, prior: str | None) -> Run:
    """The run with the law q(z | m) of its folder, where it has one and no prior is named; else the `chosen_prior`.

    Raises RunError as that does.
    """
    from polyvae.training.second_stage import has_completion, with_completion
    from polyvae.training.second_stage.completing import place_of
    from polyvae.training.second_stage.kept import unfinished_in

    if prior is not None:  # away from its folder, in which a completion would be found again
        return replace(chosen_prior(run, prior), folder=None)
    place = place_of(run)
    if place is not None and (note := unfinished_in(run, place)) is not None:
        print(f"polyvae: note: {note}", file=sys.stderr)
    if run.folder is None or not has_completion(run.folder):
        return chosen_prior(run, None)
    try:
        return with_completion(run)
    except RunError as error:
        raise RunError(f"{error}; complete goes without by --code-prior own") from error


def recorded_data(folder: Path, record: Mapping[str, Any], data_dir: Path | None, **given: Any) -> Data:
    """The data of a recorded call with what is `given` instead; `data_dir`, where they lie now, is not recorded."""
    recorded = dict(record.get("call") or {})
    if "codes_of" in recorded:
        return _codes(folder, recorded, data_dir, given)
    if not recorded and not given:
        name = record.get("name")
        raise RunError(f"{folder} was trained on {name} given in Python, which no command can load; go on in Python")
    call = {**recorded, **given, **({} if data_dir is None else {"data_dir": data_dir})}
    try:
        found = data.load(**call)
    except TypeError as error:
        said = f"was not written by this version of polyvae ({error})"
        raise RunError(f"{folder / DESCRIPTION} {said}") from error
    place = {"data_dir": recorded["data_dir"]} if "data_dir" in recorded else {}
    return replace(found, call={key: value for key, value in found.call.items() if key != "data_dir"} | place)


def check_place(path: Path | None, folder: bool = False) -> None:
    """OSError that names the path where no file, or no `folder`, can be written; asked before anything is computed."""
    if path is None:
        return
    if not folder:
        check_regular(path)
    above = next(place for place in ((path, *path.parents) if folder else path.parents) if place.exists())
    if not above.is_dir():
        raise NotADirectoryError(ENOTDIR, f"{above} is a file, not a folder", str(path))
    try:
        with TemporaryFile(dir=above):
            return
    except OSError as error:
        said = f"nothing can be written in {above} ({error.strerror}); choose another place"
        raise OSError(error.errno, said, str(path)) from error


def check_own(path: Path, start: bytes) -> None:
    """UsageError where a file is there that does not begin as what the command writes: it is another of the user's."""
    if path.is_file():
        with path.open("rb") as file:
            if file.read(len(start)) != start:
                raise UsageError(f"--out {path} is there already, and this command did not write it; give another name")


def device(wanted: str) -> str:
    """cpu, cuda or mps; auto is cuda where there is one. Raises UsageError for what this machine has not."""
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if wanted == "auto":
        return "cuda" if there["cuda"] else "cpu"
    if not there[wanted]:
        usable = ", ".join(name for name, is_there in there.items() if is_there)
        raise UsageError(f"--device {wanted}: PyTorch finds none on this machine; there is {usable}")
    return wanted


def _codes(folder: Path, call: Mapping[str, Any], data_dir: Path | None, given: Mapping[str, Any]) -> Data:
    """The codes that a learned prior was trained on, made again by the run in the folder above."""
    from polyvae.training.second_stage import code_data

    above = folder / call["codes_of"]
    if given:
        raise RunError(f"{folder} was trained on the codes of {above}; {', '.join(given)} cannot be changed")
    found = opened(above, data_dir)
    return code_data(found.run, found.data, call.get("level"))
