"""Compress 100 test pictures by runs of several kinds, read them back, and set the bytes beside the bound and others.

Runs are trained where --runs does not hold them. Each row of --out (results.csv, results.md) is one run: the plain
bound of the pictures, the bits that they added to the stack, all bytes of the file, and PNG, WebP and xz of the same
pictures. Files that do not come back to the last bit are an error.

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
COLUMNS = ("case", "pictures", "dimensions", "bound", "net", "first", "file", "png", "webp", "lzma", "files", "seconds")


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
            rows = {row["case"]: dict(row) for row in csv.DictReader(file)}
    for case in asked.cases:
        folder = asked.runs / case
        if not folder.exists() and polyvae(
            ["train", *shlex.split(CASES[case]), "--device", "cpu", "--run", str(folder)]
        ):
            raise SystemExit(f"{case} was not trained")
        began = time.perf_counter()
        found = there_and_back(pv.Run.load(folder), asked.pictures)
        rows[case] = row(case, found, time.perf_counter() - began)
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


def row(case: str, found: Compressed, seconds: float) -> dict[str, object]:
    """Bits for the bound, the net and the first, bytes for the others."""
    sizes = {name: found.others[name] for name in ("png", "webp", "lzma")}
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
        "seconds": f"{seconds:.1f}",
    }


def markdown(rows: Sequence[dict[str, object]]) -> str:
    """Bits a value of the bound and of what was written, beside those of others."""
    lines = [
        "| run | plain bound | net | over the bound | with the first bits | the file | PNG | WebP | xz |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for each in rows:
        values = int(str(each["pictures"])) * int(str(each["dimensions"]))
        bound, net, first = (float(str(each[name])) for name in ("bound", "net", "first"))
        sizes = [8 * int(str(each[name])) for name in ("file", "png", "webp", "lzma")]
        cells = [f"{bits / values:.4f}" for bits in (bound, net, net + first, *sizes)]
        cells.insert(2, f"{100 * (net / bound - 1):+.2f} %")
        lines.append(f"| {each['case']} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", "Bits a value.", ""])


if __name__ == "__main__":
    main()
