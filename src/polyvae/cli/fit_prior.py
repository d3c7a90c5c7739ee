"""`polyvae fit-prior`: a prior fitted to the vector of a trained run, in the folder `prior` within it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from polyvae.cli.options import Option, Parser, options_of, without_options, written
from polyvae.cli.reading import check_known, read_path
from polyvae.cli.signatures import functions
from polyvae.cli.train import FORMER, settings_options
from polyvae.training.settings import OF_PRIORS

TEXT = """Fits a prior to the latents of a trained run, the rest of it left as it is.

KIND is {kinds}. What is fitted are draws of the run's posteriors, made anew in every epoch; the prior
is kept in DIR/prior. From then on `polyvae sample DIR`, `complete` and `evaluate` take it; --code-prior own
leaves it out. The bounds and, of labelled pictures, the Fréchet distance before and after are printed; of several
modalities also how often what is drawn together shows one class. Ctrl-C leaves it to be gone on with by --resume."""
EXAMPLE = """polyvae fit-prior runs/first {kind}
polyvae sample runs/first"""
RUN = [
    Option("run", None, read_path, "DIR", "the folder of a run whose latent is a vector"),
    Option("prior", None, str, "KIND", "which prior: {kinds}"),
    Option("resume", "--resume", None, "", "go on with DIR/prior as if it had not stopped; --epochs may rise", False),
    Option("data_dir", "--data-dir", read_path, "PATH", "where the data lie now, in DIR/NAME", None),
    Option("json", "--json", None, "", "print the result as one JSON document", False),
]
JUDGED = ("samples", "examples", "frechet")


def kinds() -> dict[str, str]:
    """The priors that are fitted, and the functions that make them: of kinds.py those that take a vector."""
    found = functions("training/second_stage/kinds.py")
    return {
        name.replace("_", "-"): name for name, build in found.items() if "vector" in _first(build) and name[0] != "_"
    }


def groups_of(kind: str | None) -> dict[str, list[Option]]:
    """The options by group, those of a prior among them where it is known."""
    listed = ", ".join(kinds())
    run = [Option(**{**vars(each), "help": each.help.format(kinds=listed)}) for each in RUN]
    own = [] if kind is None else options_of(functions("training/second_stage/kinds.py")[kinds()[kind]])
    usual = OF_PRIORS.get(kind or "", {})
    trained = [replace(each, default=usual.get(each.name, each.default)) for each in settings_options()]
    judged = options_of(functions("training/second_stage/judged.py")["judged"])
    return {
        "what it works on": run[:2],
        "the prior": own,
        "how it is trained": trained,
        "how it is judged": [each for each in judged if each.name in JUDGED],
        "how": run[2:],
    }


def every_group() -> dict[str, list[Option]]:
    """The options of all priors together, each with its kinds and what it says and is by default there."""
    found: dict[str, Option] = {}
    for kind in kinds():
        for each in groups_of(kind)["the prior"]:
            usual = "" if each.default is None else f" (default: {written(each.default)})"
            said = f"of {kind}: {each.help}{usual}"
            flag = str(each.flag)
            said = f"{found[flag].help}; {said}" if flag in found else said
            found[flag] = replace(each, help=said, default=None)
    return {**groups_of(None), "the prior": list(found.values())}


def kinds_with(flag: str) -> str:
    """What to say of an option that other priors have, or nothing."""
    of = [kind for kind in kinds() if any(each.flag == flag for each in groups_of(kind)["the prior"])]
    return f"; it is of {' and '.join(of)}" if of else ""


def run(name: str, arguments: Sequence[str]) -> None:
    """The command."""
    kind = next((each for each in arguments if each in kinds()), None)
    by_place = [each for each in arguments[:2] if not each.startswith("-")]
    if kind is None and len(by_place) == 2:
        check_known("prior", by_place[1], kinds(), f"fit-prior knows {', '.join(kinds())}")
    groups = every_group() if kind is None else groups_of(kind)
    text = TEXT.format(kinds=", ".join(kinds()))
    if kind is not None:
        said = functions("training/second_stage/kinds.py")[kinds()[kind]].__doc__ or ""
        text += "\n\n" + without_options("\n".join(line.strip() for line in said.splitlines()).strip())
    usage = f"polyvae fit-prior DIR {kind or 'KIND'} [options]"
    parser = Parser("polyvae fit-prior", usage, text, EXAMPLE.format(kind=kind or "mixture"), FORMER, kinds_with)
    for title, options in groups.items():
        parser.add(title, options)
    found = parser.read(arguments)
    given = {option.name: found[option.key] for group in groups.values() for option in group if option.key in found}
    check_known("prior", given["prior"], kinds(), f"fit-prior knows {', '.join(kinds())}")
    from polyvae.cli import second_stage  # with torch: after the line is read

    second_stage.fit(given, groups["how it is trained"], [*groups["the prior"], *groups["how it is trained"]], JUDGED)


def _first(build: object) -> tuple[str, ...]:
    code = getattr(build, "__code__", None)
    return () if code is None else code.co_varnames[:1]
