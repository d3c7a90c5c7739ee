"""The commands. This file alone is read for `polyvae --help`: torch is imported with the command that needs it."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import os
import re
import sys
import traceback
import warnings
from collections.abc import Sequence

from polyvae.cli.reading import UsageError, named, near
from polyvae.version import __version__

# Name -> where it is, and what it does. Each is called with the arguments that follow its name.
COMMANDS = {
    "train": ("polyvae.cli.train", "train a recipe on data, or go on with a run"),
    "train-prior": ("polyvae.cli.prior", "a learned prior over the codes of a vector-quantised run"),
    "fit-prior": ("polyvae.cli.fit_prior", "a prior fitted to the latents of a trained run"),
    "fit-completion": ("polyvae.cli.fit_completion", "a law of the latents given a few values: any run completes"),
    "evaluate": ("polyvae.cli.commands", "bounds, errors and what the latents carry, as a table or JSON"),
    "sample": ("polyvae.cli.commands", "pictures drawn from the model"),
    "reconstruct": ("polyvae.cli.commands", "examples beside their reconstructions"),
    "traverse": ("polyvae.cli.commands", "what each latent changes, from -3 to 3"),
    "interpolate": ("polyvae.cli.commands", "from one example to another through the latents"),
    "complete": ("polyvae.cli.commands", "examples from a few of their pixels, beside baselines"),
    "translate": ("polyvae.cli.commands", "modalities from one another, by a run of several"),
    "augment": ("polyvae.cli.commands", "labelled examples drawn from a conditional run"),
    "classify": ("polyvae.cli.commands", "classes of examples by a run of m2, vade or gmvae, and scores"),
    "impute": ("polyvae.cli.commands", "a table with its gaps filled by a run of incomplete"),
    "place-sensors": ("polyvae.cli.commands", "where so many sensors tell most of a field"),
    "compress": ("polyvae.cli.commands", "pictures and arrays into a few bytes, without loss, by a run"),
    "decompress": ("polyvae.cli.commands", "the files of a compressed file, identical to the last bit"),
    "figures": ("polyvae.cli.commands", "every figure of a run: curves, reconstructions, samples, codes"),
    "study": ("polyvae.cli.commands", "grids of runs, in tables beside the published ones"),
    "datasets": ("polyvae.cli.commands", "data sets: which there are, which are here; fetch gets one"),
    "recipes": ("polyvae.cli.commands", "the recipes and their papers"),
    "completion": ("polyvae.cli.commands", "a script that lets bash, zsh or fish complete these commands"),
}
EXAMPLE = """examples:
  polyvae train vae --data mnist --epochs 10 --run runs/first
  polyvae evaluate runs/first
  polyvae figures runs/first
  polyvae COMMAND --help"""
UNREAD = 141  # what a shell says of a program that a closed pipe ended: 128 and the number of SIGPIPE


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns 0 for success, 1 for a failure while running, 2 for a command line not understood.

    A mistake becomes one line on standard error. With POLYVAE_DEBUG set the traceback is kept. Where output is closed
    the command ends quietly, and where nobody reads on, as of `| head -1`, so too, with 141.
    """
    _open_streams()
    warnings.showwarning = _show_warning
    given = sys.argv[1:] if arguments is None else list(arguments)
    if os.environ.get("POLYVAE_DEBUG"):
        _dispatch(given)
        return 0
    return _flushed(_run(given))


def _run(arguments: list[str]) -> int:
    try:
        _dispatch(arguments)
    except SystemExit as left:  # argparse after printing help, rich where nobody reads on
        if isinstance(left.__context__, BrokenPipeError):
            return UNREAD
        return left.code if isinstance(left.code, int) else 0
    except UsageError as error:
        return _fail(str(error), 2)
    except KeyboardInterrupt as error:
        return _fail(str(error) or "interrupted", 1)
    except BrokenPipeError:
        return UNREAD
    except OSError as error:
        where = error.filename or _printing(error)
        return _fail(f"{where}: {error.strerror}" if where else str(error), 1)
    except (ValueError, ArithmeticError, ImportError, MemoryError, RuntimeError) as error:
        return _fail(str(error).strip() or type(error).__name__, 1)
    return 0


def _printing(error: BaseException) -> str | None:
    """Where a command was printing when it failed, of which the system says no name."""
    innermost = list(traceback.walk_tb(error.__traceback__))[-1][0].f_globals["__name__"]
    return "standard output" if innermost.startswith(("polyvae.cli", "rich.")) else None


def _open_streams() -> None:
    """Opens what the caller closed (`>&-`) onto nothing, before a file of ours takes its number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without the character shows a question mark instead


def _flushed(code: int) -> int:
    """The exit code once all is written: 1 where that failed, in words, and 141 where nobody reads them."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError as error:
            # Python would try again at its end, and complain.
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            unread = isinstance(error, BrokenPipeError)
            if stream is sys.stdout and not unread:
                _fail(f"standard output: {error.strerror}", 1)
            code = code or (UNREAD if unread else 1)
    return code


def _dispatch(arguments: list[str]) -> None:
    listed = "\n".join(f"  {name:<12} {text}" for name, (_, text) in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="polyvae",
        description="Variational autoencoders: train, evaluate and look at any variant.",
        epilog=f"commands:\n{listed}\n\n{EXAMPLE}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="polyvae COMMAND ...",
        add_help=False,
    )
    parser.add_argument("-h", "--help", action="help", help="this help; after a command, the help of that command")
    parser.add_argument("--version", action="version", version=f"polyvae {__version__}", help="the version")
    if not arguments or arguments[0] in ("-h", "--help", "--version"):
        parser.parse_args(arguments or ["--help"])
    name, *rest = arguments
    if name not in COMMANDS:
        what = "option" if name.startswith("-") else "command"
        raise UsageError(f"there is no {what} {named(name)}{near(name, COMMANDS)}; see `polyvae --help`")
    module = importlib.import_module(COMMANDS[name][0])
    if name != "translate" and any(each.partition("=")[0] == "--from" for each in rest):  # its --from is a modality
        from polyvae.cli.modules import loaded

        rest = loaded(rest)
    module.run(name, rest)


def _fail(message: str, code: int) -> int:
    # A name of thousands of characters would push what is said of it off the screen.
    short = re.sub(r"\S{300,}", lambda word: f"{word[0][:60]}...", " ".join(message.split()))
    with contextlib.suppress(OSError):
        print(f"polyvae: {short}", file=sys.stderr)
    return code


def _show_warning(message: Warning | str, category: type[Warning], filename: str, *_: object) -> None:
    """A warning in words, without file and line; those of other libraries are for developers."""
    if "polyvae" in filename or os.environ.get("POLYVAE_DEBUG"):
        print(f"polyvae: note: {message}", file=sys.stderr)
