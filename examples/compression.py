"""Compress 100 test pictures by runs of several kinds, read them back, and set the bytes beside the bound and others.

Runs are trained where --runs does not hold them. Each row of --out (results.csv, results.md) is one run: the plain
bound of the pictures, the bits that they added to the stack, all bytes of the file, PNG and WebP of each of the same
pictures, one WebP of all of them below each other, xz of all their values, and the bytes of the weights, which both
sides must have and no other column counts. Files that do not come back to the last bit are an error.

python examples/compression.py
python examples/compression.py --cases bits two-levels --pictures 100
"""

from __future__ import annotations

import argparse
import csv
import shlex
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from PIL import Image

import polyvae as pv
from polyvae.cli import main as polyvae
from polyvae.compression import Compressed, compress, decompress
from polyvae.data.files.writing import replacing, write_text

SMALL = "--network mlp --widths 256,256 --latent 16"
CASES = {
    "bits": f"vae --data mnist --binarise threshold --epochs 30 --limit 12000 {SMALL}",
    "two-levels": f"two_level --data mnist --binarise threshold --epochs 25 --limit 12000 {SMALL}",
    "ladder": "ladder --data mnist --binarise threshold --network mlp --per-scale 2,2 --kl-warmup 0 --epochs 12 "
    "--limit 12000",
    "grey": f"vae --data mnist --likelihood logistic-mixture --epochs 6 --limit 6000 --lr 3e-3 {SMALL}",
    "codes": "vq_vae --data mnist --binarise threshold --epochs 3 --limit 4000",
    "colours": "vae --data cifar10 --likelihood coupled-logistic-mixture --network mlp --widths 256 --latent 64 "
    "--epochs 4 --limit 2000 --lr 3e-3",
}
OTHERS = {"png": "PNG", "webp": "WebP", "webp_strip": "WebP strip", "lzma": "xz"}
COLUMNS = (
    *("case", "pictures", "dimensions", "bound", "net", "first", "file"),
    *OTHERS,
    *("files", "weights", "seconds"),
)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="*", default=list(CASES), choices=list(CASES))
    parser.add_argument("--pictures", type=int, default=100)
    parser.add_argument("--runs", type=Path, default=Path("runs/compression"))
    parser.add_argument("--out", type=Path, default=Path("results/compression"))
    asked = parser.parse_args(arguments)
    place, rows = asked.out / "results.csv", dict[str, dict[str, object]]()
    if place.exists():
        with place.open(encoding="utf-8", newline="") as file:
            kept = csv.DictReader(file)
            if tuple(kept.fieldnames or ()) != COLUMNS:
                raise SystemExit(f"{place} has other columns; remove it and run all cases again")
            rows = {row["case"]: dict(row) for row in kept}
    for case in asked.cases:
        folder = asked.runs / case
        if not folder.exists() and polyvae(
            ["train", *shlex.split(CASES[case]), "--device", "cpu", "--run", str(folder)]
        ):
            raise SystemExit(f"{case} was not trained")
        began = time.perf_counter()
        found = there_and_back(pv.Run.load(folder), asked.pictures)
        seconds = time.perf_counter() - began
        rows[case] = row(case, found, (folder / "weights.safetensors").stat().st_size, seconds)
        print(rows[case], flush=True)
        ordered = [rows[name] for name in CASES if name in rows]
        with replacing(place) as beside, beside.open("w", encoding="utf-8", newline="") as file:
            table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            table.writeheader()
            table.writerows(ordered)
        write_text(asked.out / "results.md", markdown(ordered))


def there_and_back(run: pv.Run, count: int) -> Compressed:
    """The first test pictures of a run's data as PNG files, compressed and decompressed."""
    data = pv.data.load(**run.description["data"]["call"])
    x = data.test.batch(torch.arange(count))["x"]
    with TemporaryDirectory() as place:
        pictures, file, out = Path(place) / "pictures", Path(place) / "file", Path(place) / "out"
        pictures.mkdir()
        for number, each in enumerate(x.mul(255).round().to(torch.uint8).movedim(1, -1).numpy()):
            image = Image.fromarray(each[..., 0] if each.shape[-1] == 1 else each)
            image.save(pictures / f"{number:03}.png", optimize=True)
        found = compress(run, [pictures], file)
        files = decompress(file, run, out)
        if any(each.read_bytes() != (pictures / each.name).read_bytes() for each in files) or len(files) != count:
            raise SystemExit("the files are not those that were compressed")
        shutil.rmtree(out)
    return found


def row(case: str, found: Compressed, weights: int, seconds: float) -> dict[str, object]:
    """Bits for the bound, the net and the first, bytes for the others."""
    sizes = {name: found.others[name] for name in OTHERS}
    return {
        "case": case,
        "pictures": found.examples,
        "dimensions": found.dimensions,
        "bound": f"{found.bound:.1f}",
        "net": found.net,
        "first": found.first,
        "file": found.size,
        **sizes,
        "files": sum(found.files.values()),
        "weights": weights,
        "seconds": f"{seconds:.1f}",
    }


def markdown(rows: Sequence[dict[str, object]]) -> str:
    """Bits a value of the bound and of what was written, beside those of others."""
    lines = [
        f"| run | plain bound | net | over the bound | with the first bits | the file | {' | '.join(OTHERS.values())} "
        "| weights, MB |",
        "|---" * (7 + len(OTHERS)) + "|",
    ]
    for each in rows:
        values = int(str(each["pictures"])) * int(str(each["dimensions"]))
        bound, net, first = (float(str(each[name])) for name in ("bound", "net", "first"))
        sizes = [8 * int(str(each[name])) for name in ("file", *OTHERS)]
        cells = [f"{bits / values:.4f}" for bits in (bound, net, net + first, *sizes)]
        cells.insert(2, f"{100 * (net / bound - 1):+.2f} %")
        cells.append(f"{int(str(each['weights'])) / 1e6:.2g}")
        lines.append(f"| {each['case']} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", "Bits a value; the weights, which no column counts, as they lie in the run.", ""])


if __name__ == "__main__":
    main()
