"""How long a fresh Python takes to import the package and to show the command line's help."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

from benchmarks.interleave import Result, compare

USED = "import polyvae as pv; pv.VAE, pv.recipes, pv.Objective, pv.families, pv.priors"


def start(rounds: int) -> Iterator[Result]:
    """Import and help beside `import torch`; ratios below one are slower than it."""
    commands = {
        "import polyvae": (["-c", "import polyvae"], 1 / 1.3),
        "import polyvae and touch its parts": (["-c", USED], 1 / 1.3),
        "import polyvae and touch fit": (["-c", "import polyvae as pv; pv.fit"], 1 / 1.3),
        "polyvae --help": (["-m", "polyvae", "--help"], 1.0),
    }
    for what, (arguments, bar) in commands.items():
        yield compare(
            what,
            lambda a=arguments: _python(a),
            "import torch",
            lambda: _python(["-c", "import torch"]),
            bar=round(bar, 2),
            items=1,
            unit="starts/s",
            rounds=rounds,
        )


def _python(arguments: list[str]) -> None:
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
