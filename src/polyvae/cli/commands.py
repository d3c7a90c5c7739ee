"""The commands that are one typed function each: read from its source, which is imported to be called."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from importlib import import_module

from polyvae.cli.options import Option, Parser, gathered, naming, options_of, without_options
from polyvae.cli.reading import UsageError, near, quoted
from polyvae.cli.signatures import functions

# Words of the line -> where their function is, and what its options were called before.
PLACES: dict[str, tuple[str, dict[str, str]]] = {
    "evaluate": ("evaluation.evaluate", {"--prior": "--code-prior"}),
    "sample": ("pictures.sample", {"--count": "--number", "--prior": "--code-prior"}),
    "reconstruct": ("pictures.reconstruct", {"--count": "--number"}),
    "traverse": (
        "pictures.traverse",
        {
            "--count": "--number",
            "--latent": "--latent-name",
            "--limit": "--reach",
            "--prior": "--at-prior",
            "--steps": "--columns",
        },
    ),
    "interpolate": ("pictures.interpolate", {"--count": "--number", "--steps": "--columns"}),
    "figures": ("pictures.figures", {"--npz": "--arrays"}),
    "classify": ("classify.classify", {"--prior": "--code-prior"}),
    "complete": ("complete.complete", {"--samples": "--show-draws", "--prior": "--code-prior"}),
    "translate": ("translate.translate", {}),
    "augment": ("augment.augment", {}),
    "impute": ("impute.impute", {}),
    "place-sensors": ("placing.place", {"--number": "--count", "--noise": "--reading-noise"}),
    "compress": ("compress.compress", {}),
    "decompress": ("compress.decompress", {}),
    "study": ("study.study", {}),
    "study compare": ("compare.compare", {}),
    "study completion": ("completing.completing", {}),
    "study disentangle": ("disentangle.disentangle", {}),
    "study multimodal": ("multimodal.multimodal", {}),
    "study multitask": ("study.multitask", {}),
    "study rate-distortion": ("trade.rate_distortion", {}),
    "study shapes": ("shapes.shapes", {}),
    "recipes": ("lists.recipes", {}),
    "datasets": ("lists.datasets", {}),
    "datasets list": ("lists.datasets", {}),
    "datasets fetch": ("lists.fetch", {}),
    "completion": ("completion.completion", {}),
}


def run(name: str, arguments: Sequence[str]) -> None:
    """The command: parameters of its function without a default stand by place, the others are options.

    Its docstring is the help: the last paragraph, after "Example:", the example.
    """
    place, rest = _place(name, list(arguments))
    where, former = PLACES[place]
    module, _, function = where.partition(".")
    text, _, example = inspect.cleandoc(signature(place).__doc__ or "").partition("\n\nExample: ")
    found, prog = options_at(place), f"polyvae {place.removesuffix(' list')}"
    places = (option.metavar + " ..." * option.several for option in found if option.flag is None)
    usage = " ".join([prog, *places, "[options]"])
    parser = Parser(prog, usage, without_options(text), example, former)
    parser.add("what it works on", [option for option in found if option.flag is None])
    parser.add("how", [option for option in found if option.flag is not None])
    given = parser.read(rest)
    command = getattr(import_module(f"polyvae.cli.{module}"), function)
    with naming(found):
        values = {option.name: given[option.key] for option in found if option.key in given}
        command(**gathered(command, values))


def signature(place: str) -> Callable[..., None]:
    """The function of a command, with its parameters and its docstring: not to be called."""
    module, _, function = PLACES[place][0].partition(".")
    return functions(f"cli/{module}.py")[function]


def options_at(place: str) -> list[Option]:
    """The options of a command."""
    return options_of(signature(place))


def studies() -> list[str]:
    """The names of the studies."""
    return [place.removeprefix("study ") for place in PLACES if place.startswith("study ")]


def _place(name: str, arguments: list[str]) -> tuple[str, list[str]]:
    """The words of PLACES that a line begins with, and what follows them."""
    verbs = [place.partition(" ")[2] for place in PLACES if place.startswith(f"{name} ")]
    if not verbs or not arguments or arguments[0].startswith("-"):
        return name, arguments
    if arguments[0] not in verbs:
        listed = f"it has {' and '.join(verbs)}"
        raise UsageError(f"{name} has no {quoted(arguments[0])}{near(arguments[0], verbs)}; {listed}")
    return f"{name} {arguments[0]}", arguments[1:]
