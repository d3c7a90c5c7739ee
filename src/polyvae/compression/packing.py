"""Files into one, by a run, and back."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import torch

from polyvae.compression.archive import Archive, digest, packed_head, read_archive
from polyvae.compression.chain import Chain
from polyvae.compression.files import Source, bytes_of, check_names, listed, source_of
from polyvae.compression.rivals import rivals
from polyvae.compression.stack import Stack
from polyvae.compression.tables import random_words
from polyvae.data.errors import DataError
from polyvae.data.split import Split
from polyvae.evaluation.bounds import both_bounds
from polyvae.model.vae import VAE

_LARGEST = 2**16  # of a count: a table holds a number for each below it
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Compressed:
    """What files became, in bits but for sizes, which are in bytes.

    `net`: by how much the examples made the stack grow. `first`: of the bits below them that the first example took,
    which come on top. `bound`: minus the plain bound of the same examples, E_q over `samples` draws. `head`: all but
    the stack, `kept` of it for the `whole` files that are in it as they were. `size` is that of the written file,
    `files` those of the files, `others` those of other coders.
    """

    examples: int
    dimensions: int
    net: int
    first: int
    bound: float | None
    samples: int
    head: int
    kept: int
    whole: Sequence[str]
    size: int
    files: Mapping[str, int]
    others: Mapping[str, int]

    @property
    def over(self) -> float | None:
        """The net bits beyond those of the bound, as a share of them."""
        return None if not self.bound else self.net / self.bound - 1


def compress(
    run: Any,
    files: Sequence[str | Path],
    out: str | Path,
    samples: int = 32,
    note: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Compressed:
    """Compresses pictures and arrays by bits-back coding with a run's model, into one file.

    `files`: PNG, lossless WebP, BMP, PGM, PPM, .npy and .npz of examples such as the run was trained on, or folders of
    them. `samples`: draws for the bound that stands beside. `note`: what the file shall tell of the run besides. The
    bytes are read back before they are written. Raises DataError, by name, for files that are no such examples,
    ValueError for a model that cannot code, RuntimeError where what is read back differs.
    """
    found, _ = listed([Path(file) for file in files])
    chain, remembered = Chain(run.model, run.spec.x), dict[str, Any]()
    sources = [source_of(name, path, run.spec.x, chain.levels, remembered) for name, path in found.items()]
    symbols = np.concatenate([source.symbols for source in sources])
    largest = int(symbols.max(initial=0)) if chain.levels is None else 0
    if largest >= _LARGEST:
        raise DataError(files[0], f"counts below {_LARGEST:,}", f"{largest:,}", "leave the largest out")
    words, net, first = _coded(chain, symbols, largest, progress)
    head = {
        "run": {"weights": fingerprint(run.model), **(note or {})},
        "torch": torch.__version__,
        "largest": largest,
        "content": digest(*_contents((source.name, source.data) for source in sources)).hex(),
        **_table(sources),
    }
    archive = Archive(head, _rests(sources), words)
    if _restored(archive, chain, Path(out)) != {source.name: source.data for source in sources}:
        raise RuntimeError(
            "what was compressed does not come back on this machine: its arithmetic does not repeat itself; nothing "
            "was written"
        )
    whole = [source for source in sources if source.how is None]
    kept = {source.data for source in whole}
    packed = len(packed_head(head, archive.rests))
    return Compressed(
        examples=len(symbols),
        dimensions=run.spec.dimensions,
        net=net,
        first=first,
        bound=_bound(run, symbols, chain.levels, samples),
        samples=samples,
        head=packed,
        kept=packed - len(packed_head(head, [b"" if rest in kept else rest for rest in archive.rests])),
        whole=[source.name for source in whole],
        size=archive.write(Path(out)),
        files={source.name: len(source.data) for source in sources},
        others=rivals(symbols, chain.levels) if len(symbols) else {},
    )


def decompress(file: str | Path, run: Any, out: str | Path) -> list[Path]:
    """Writes the files of a compressed file into a new folder, and returns their paths.

    All are made, and compared with the digest of those that were compressed, before anything is written. Raises
    DataError for a file that is damaged or was made by another run, and for a folder that holds anything.
    """
    file, out = Path(file), Path(out)
    archive = read_archive(file)
    check_folder(out)
    check_run(archive, run.model, file)
    made = _restored(archive, Chain(run.model, run.spec.x), file)
    if digest(*_contents(made.items())).hex() != archive.head["content"]:
        there, here = archive.head["torch"], torch.__version__
        raise DataError(
            file,
            "the files that were compressed",
            f"others: this machine computes other probabilities (PyTorch {there} there, {here} here)",
            "decompress where it was compressed, or with the same libraries and processor",
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as part:
        whole = Path(part) / "files"
        for name, data in made.items():
            (whole / name).parent.mkdir(parents=True, exist_ok=True)
            (whole / name).write_bytes(data)
        if out.exists():
            out.rmdir()
        whole.rename(out)
    return [out / name for name in made]


def check_folder(out: Path) -> None:
    """DataError unless files can be put into this folder without any beside them."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        found = "a folder that holds files" if out.is_dir() else "a file"
        raise DataError(out, "a new or an empty folder", found, "choose another one")


def check_run(archive: Archive, model: VAE, file: Path) -> None:
    """DataError for a file that was made with other weights."""
    wanted, found = archive.head["run"]["weights"], fingerprint(model)
    if wanted != found:
        advice = "give the run that compressed it"
        raise DataError(file, f"the run whose weights are {wanted}", f"one with weights {found}", advice)


def fingerprint(model: VAE) -> str:
    """16 hexadecimal digits that tell a model's weights from any others."""
    found = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        kept = value.detach().cpu().contiguous()
        found.update(f"{name} {kept.dtype} {list(kept.shape)}".encode())
        found.update(kept.reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()[:16]


def _restored(archive: Archive, chain: Chain, file: Path) -> dict[str, bytes]:
    """The files by name."""
    head = archive.head
    try:
        names = list(head["files"])
        check_names(names, file)
        counts = head["examples"]
        stack = Stack(archive.words.copy() if len(archive.words) else None)
        symbols = chain.read(stack, sum(counts), head["largest"])
        start, found = 0, {}
        for name, way, rest, count in zip(names, head["ways"], head["kept"], counts, strict=True):
            how, own = head["how"][way], archive.rests[rest]
            found[name] = own if how is None else bytes_of(symbols[start : start + count], chain.levels, how, own)
            start += count
        return found
    except DataError:
        raise
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        raise DataError(file, "a file of polyvae compress", f"something else ({error!r})", "check the path") from error


def _coded(chain: Chain, symbols: np.ndarray, largest: int, progress: Progress | None) -> tuple[np.ndarray, int, int]:
    """The words of all examples, the bits by which they grew, and those that were taken from below them."""
    if not len(symbols):
        return np.empty(0, np.uint32), 0, 0
    start = random_words(64 + 4 * chain.numbers)  # what the first example leaves of them is not written
    stack = Stack(start)
    before = stack.bits
    for number, _ in enumerate(chain.write(stack, symbols, largest), 1):
        if progress is not None:
            progress(number, len(symbols))
    return stack.words[stack.untouched :], stack.bits - before, 32 * (len(start) - stack.untouched)


def _table(sources: Sequence[Source]) -> dict[str, Any]:
    """The files in columns, with each way to make one, and each rest, once."""
    hows, rests = list[Any](), _rests(sources)
    for source in sources:
        if source.how not in hows:
            hows.append(source.how)
    return {
        "files": [source.name for source in sources],
        "examples": [len(source.symbols) for source in sources],
        "ways": [hows.index(source.how) for source in sources],
        "kept": [rests.index(source.rest) for source in sources],
        "how": hows,
    }


def _rests(sources: Sequence[Source]) -> list[bytes]:
    return list(dict.fromkeys(source.rest for source in sources))


def _contents(files: Any) -> Any:
    for name, data in files:
        yield os.fsencode(name)
        yield data


def _bound(run: Any, symbols: np.ndarray, levels: int | None, samples: int) -> float | None:
    if not len(symbols):
        return None
    x = torch.from_numpy(symbols).float()
    split = Split({"x": x if levels is None else x / (levels - 1)})
    return -float(both_bounds(run, split, samples).plain.sum()) / log(2)
