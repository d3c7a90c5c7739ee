"""`polyvae compress` and `polyvae decompress`: files in a few bytes by a run, and the same files again."""

from __future__ import annotations

import json as json_module
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.table import Table

from polyvae.checks.names import shortened
from polyvae.checks.ranges import Count
from polyvae.cli.arguments import CodePrior
from polyvae.cli.printing import console
from polyvae.cli.reading import UsageError
from polyvae.cli.runs import check_own, check_place, chosen_prior, opened
from polyvae.compression.archive import MAGIC, read_archive
from polyvae.compression.files import listed
from polyvae.compression.packing import Compressed, check_folder
from polyvae.compression.packing import compress as compressed
from polyvae.compression.packing import decompress as decompressed
from polyvae.data.errors import DataError
from polyvae.evaluation.numbers import so_many
from polyvae.training.progress import counted


def compress(
    run: Path,
    files: Sequence[Path],
    out: Path | None = None,
    samples: Count = 32,
    code_prior: CodePrior | None = None,
    json: bool = False,
) -> None:
    """Compresses pictures and arrays without loss by bits-back coding, and says how many bits the bound promised.

    The likelihood of the run gives probabilities: logistic-mixture or categorical of grey levels, bernoulli of bits,
    poisson and the like of counts.

    run: the folder of a run.
    files: PNG, lossless WebP, BMP, PGM, PPM, .npy and .npz of examples as the run was trained on, or folders of them.
    out: the file that is written.
    samples: draws of the latents for the bound that stands beside.
    code_prior: the run's own prior, which of a vector-quantised run is uniform, or the learned one of `polyvae
        train-prior` and `fit-prior`, which is taken where there is one.
    json: print one JSON document instead of the table.

    Example: polyvae compress runs/first digits --out digits.polyvae
    """
    if out is None:
        raise UsageError("--out names the file that is written, such as --out digits.polyvae")
    check_place(out)
    found, left = listed(files)
    if out.resolve() in {path.resolve() for path in found.values()}:
        raise UsageError(f"--out {out} is one of the files; give another name")
    check_own(out, MAGIC[:-1])
    from polyvae.training.second_stage import has_prior

    trained = chosen_prior(opened(run).run, code_prior)
    note = {"folder": str(run), "prior": code_prior or ("learned" if has_prior(run) else "own")}
    with counted("compressing") as moved:
        told = compressed(trained, files, out, samples, note, moved)
    if json:
        more = {"over": told.over, "left_out": list(map(str, left)), "file": str(out)}
        print(json_module.dumps({"run": str(run), **asdict(told), **more}))
        return
    if left:
        named = shortened([str(path) for path in left], 5)
        count = "1 file of another kind is" if len(left) == 1 else f"{len(left):,} files of other kinds are"
        print(f"polyvae: note: {count} left out: {named}", file=sys.stderr)
    console().print(table(told))
    if told.size > (before := sum(told.files.values())):
        print(f"larger than the files as they were, {told.size / before:.1f} times")
    print(shlex.quote(str(out)))


def decompress(file: Path, run: Path | None = None, out: Path | None = None, json: bool = False) -> None:
    """Writes the files of a compressed file into a new folder, identical to the last bit.

    file: what `polyvae compress` wrote.
    run: the folder of the run that compressed it; where it was then, if none is given.
    out: the folder, new or empty; beside FILE, named as it without its ending, where none is given.
    json: print one JSON document.

    Example: polyvae decompress digits.polyvae --out digits
    """
    place = file.with_suffix("") if out is None else out
    told = read_archive(file).head["run"]
    check_folder(place)
    check_place(place, folder=True)
    folder = Path(told.get("folder", ".")) if run is None else run
    if run is None and not folder.is_dir():
        raise DataError(file, f"its run in {folder}", "none there", "say where the run is: --run DIR")
    files = decompressed(file, chosen_prior(opened(folder).run, told.get("prior")), place)
    if json:
        print(json_module.dumps({"file": str(file), "run": str(folder), "files": list(map(str, files))}))
        return
    which = (
        "1 file, identical to the one that was"
        if len(files) == 1
        else f"{len(files):,} files, identical to those that were"
    )
    print(f"{which} compressed")
    print(shlex.quote(str(place)))


def table(told: Compressed) -> Table:
    """Bytes, bits an example and bits a dimension: the bound, the net rate, the file, the files and other coders."""
    dimensions = f"{so_many(told.examples, 'example')} of {told.dimensions:,} values"
    over = (
        "" if told.over is None else f"; {100 * abs(told.over):.1f} % {'over' if told.over > 0 else 'under'} the bound"
    )
    note = "Net: without the first bits, the names and the digest, which the file holds too."
    if told.whole:
        many = "files" if len(told.whole) > 1 else "file"
        cost = f"{told.kept:,} bytes for {len(told.whole)} {many} that nothing makes again from pixels alone"
        note += f" In it {cost}: {shortened(list(told.whole), 5)}."
    shown = Table(title=dimensions + over, title_justify="left", caption=note, caption_justify="left")
    for word in ("", "bytes", "bits an example", "bits a dimension"):
        shown.add_column(word, justify="right" if word else "left")
    rows: dict[str, float | None] = {"plain bound": None if told.bound is None else told.bound / 8}
    rows |= {"net": told.net / 8, "with the first bits": (told.net + told.first) / 8, "the file": told.size}
    names = {"png": "PNG, optimised", "webp": "WebP, lossless", "webp_strip": "WebP, all in one strip"}
    names |= {"gzip": "gzip", "bz2": "bzip2", "lzma": "xz"}
    rows |= {names[name]: size for name, size in told.others.items()}
    rows |= {"the files as they were": sum(told.files.values())}
    for name, size in rows.items():
        if size is not None:
            bits = 8 * size / max(1, told.examples)
            shown.add_row(name, f"{size:,.0f}", f"{bits:,.1f}", f"{bits / told.dimensions:.4f}")
    return shown
