"""Writers of small data sets in their original distribution formats, seeded; each returns what a reader must find."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

IDX_CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}
Arrays = dict[str, np.ndarray]


def pictures(count: int, *shape: int, seed: int = 0) -> np.ndarray:
    """Random bytes [count, *shape]."""
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


def idx_bytes(array: np.ndarray) -> bytes:
    """An array as IDX, uncompressed."""
    code = IDX_CODES[array.dtype.str[1:]]
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    return head + array.astype(array.dtype.newbyteorder(">")).tobytes()


def mnist(folder: Path, train: int = 60, test: int = 20) -> Arrays:
    """The four files of MNIST and its relatives, gzip-compressed, in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    found = {}
    for seed, (part, count) in enumerate((("train", train), ("t10k", test))):
        arrays = pictures(count, 28, 28, seed=seed), (np.arange(count) % 10).astype(np.uint8)
        for kind, name, array in zip("xy", ("images-idx3", "labels-idx1"), arrays, strict=True):
            (folder / f"{part}-{name}-ubyte.gz").write_bytes(gzip.compress(idx_bytes(array), 1))
            found[f"{'train' if part == 'train' else 'test'}_{kind}"] = array
    return found


def cifar10(folder: Path, rows: int = 20) -> Arrays:
    """The six binary batches under `folder`/cifar-10-batches-bin, `rows` to each."""
    inside = folder / "cifar-10-batches-bin"
    inside.mkdir(parents=True, exist_ok=True)
    found: dict[str, list[np.ndarray]] = {"train_x": [], "train_y": [], "test_x": [], "test_y": []}
    for seed, name in enumerate([*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]):
        x, y = pictures(rows, 3, 32, 32, seed=seed), (np.arange(rows) % 10).astype(np.uint8)
        (inside / f"{name}.bin").write_bytes(np.hstack([y[:, None], x.reshape(rows, -1)]).tobytes())
        part = "test" if name == "test_batch" else "train"
        found[f"{part}_x"].append(x)
        found[f"{part}_y"].append(y.astype(np.int64))
    names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    (inside / "batches.meta.txt").write_text("\n".join(names) + "\n")
    return {name: np.concatenate(parts) for name, parts in found.items()}


def svhn(folder: Path, train: int = 30, test: int = 20) -> Arrays:
    """train_32x32.mat and test_32x32.mat, compressed MATLAB 5 as the originals, 10 for the digit 0."""
    folder.mkdir(parents=True, exist_ok=True)
    found = {}
    for seed, (part, count) in enumerate((("train", train), ("test", test))):
        x, y = pictures(count, 3, 32, 32, seed=seed), np.arange(count) % 10
        matrices = {"X": x.transpose(2, 3, 1, 0), "y": np.where(y == 0, 10, y)[:, None].astype(np.uint8)}
        savemat(folder / f"{part}_32x32.mat", matrices, do_compression=True)
        found |= {f"{part}_x": x, f"{part}_y": y}
    return found


def polymnist(folder: Path, train: int = 40, test: int = 20) -> Arrays:
    """train and test with m0 to m4 in each, pictures called NUMBER.LABEL.png."""
    found = {}
    for part, count in (("train", train), ("test", test)):
        for number in range(5):
            inside = folder / part / f"m{number}"
            inside.mkdir(parents=True, exist_ok=True)
            found[f"{part}_m{number}"] = x = pictures(count, 3, 28, 28, seed=number + 10 * count)
            for row, picture in enumerate(x):
                Image.fromarray(picture.transpose(1, 2, 0)).save(inside / f"{row}.{row % 10}.png")
    return found


def binarized_mnist(folder: Path, counts: tuple[int, int, int] = (30, 10, 10)) -> Arrays:
    """The three .amat files, zeros and ones."""
    folder.mkdir(parents=True, exist_ok=True)
    found = {}
    for seed, (part, count) in enumerate(zip(("train", "valid", "test"), counts, strict=True)):
        bits = pictures(count, 784, seed=seed) & 1
        (folder / f"binarized_mnist_{part}.amat").write_text("".join(" ".join(map(str, row)) + "\n" for row in bits))
        found[part] = bits
    return found


def omniglot_mat(path: Path, train: int = 24, test: int = 12) -> Arrays:
    """`chardata.mat` as Burda, Grosse and Salakhutdinov distribute it: pictures down the columns, alphabets one-hot."""
    path.parent.mkdir(parents=True, exist_ok=True)
    matrices, found = {}, {"x": [], "alphabet": [], "character": [], "split": []}
    for split, (part, count) in enumerate((("", train), ("test", test))):
        x, alphabet, character = pictures(count, 28, 28, seed=split), np.arange(count) % 4, 1 + np.arange(count) % 6
        matrices[f"{part}data"] = x.swapaxes(1, 2).reshape(count, 784).T / 255
        matrices[f"{part}target"] = np.eye(4)[alphabet].T
        matrices[f"{part}targetchar"] = character[None].astype(float)
        for name, array in zip(found, (x, alphabet, character, np.full(count, split)), strict=True):
            found[name].append(array)
    savemat(path, matrices)
    return {name: np.concatenate(parts) for name, parts in found.items()}


def omniglot_npz(path: Path, count: int = 36) -> Arrays:
    """All characters at 28x28 in one npz, ink 255."""
    path.parent.mkdir(parents=True, exist_ok=True)
    number = np.arange(count)
    arrays = {
        "images": pictures(count, 28, 28),
        "split": (number >= count * 2 // 3).astype(np.uint8),
        "alphabet": (number % 5).astype(np.uint8),
        "character": (1 + number % 3).astype(np.uint8),
        "class_id": (number % 9).astype(np.int16),
        "drawer": (1 + number % 4).astype(np.uint8),
        "alphabet_names": np.array(list("abcde")),
    }
    np.savez_compressed(path, **arrays)  # pyright: ignore[reportArgumentType]
    found = {name: arrays[name].astype(np.int64) for name in ("split", "alphabet", "character")}
    return {"x": arrays["images"], **found}


def frey_faces(path: Path, count: int = 12) -> Arrays:
    """frey_faces_u8.npz: images uint8 [N, 28, 20]."""
    path.parent.mkdir(parents=True, exist_ok=True)
    images = pictures(count, 28, 20)
    np.savez_compressed(path, images=images)
    return {"images": images}


def cylinder_flow(path: Path) -> Arrays:
    """cylinder_re100_grid.npz: u, v, cp [150, 64, 128] with numbers inside the cylinder too, its grid, fluid and t."""
    path.parent.mkdir(parents=True, exist_ok=True)
    x, y, t = np.linspace(-1, 7, 128), np.linspace(-2, 2, 64), 85 + 0.1 * np.arange(150)
    phase = x - t[:, None, None] + 0 * y[:, None]
    fields = {"u": 1 + 0.1 * np.sin(phase), "v": 0.2 * np.cos(phase), "cp": -0.03 * np.sin(2 * phase)}
    fluid = (x - 0.5) ** 2 + y[:, None] ** 2 > 0.25
    arrays = {name: field.astype(np.float32) for name, field in fields.items()}
    arrays |= {"x": x.astype(np.float32), "y": y.astype(np.float32), "fluid": fluid, "t": t.astype(np.float32)}
    np.savez_compressed(path, **arrays)  # pyright: ignore[reportArgumentType]
    return arrays


def dsprites(path: Path, scales: int = 2, orientations: int = 3, positions: int = 4) -> Arrays:
    """A small grid of sprites in dSprites' file, with pickled metadata as in the original, never to be opened."""
    from polyvae.data.sources.sprites import grid

    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = grid(scales, orientations, positions)
    np.savez_compressed(path, **arrays, metadata=np.array({"title": "dSprites"}, dtype=object))  # pyright: ignore
    return arrays


def celeba(folder: Path, count: int = 8, listed: int | None = None, sides: tuple[int, int] = (89, 109)) -> Arrays:
    """img_align_celeba/*.jpg of width x height `sides`, list_attr_celeba.txt and list_eval_partition.txt.

    The lists name `listed` pictures (default `count`), of which the first `count` are there. Pictures are smooth, so
    that JPEG keeps them within a few grey levels.
    """
    inside = folder / "img_align_celeba"
    inside.mkdir(parents=True, exist_ok=True)
    listed = listed or count
    down, across = np.mgrid[0 : sides[1], 0 : sides[0]]
    x = np.empty((count, sides[1], sides[0], 3), np.uint8)
    for number in range(count):
        slope = 100 + 10 * number
        x[number] = np.stack([down * slope // sides[1], across * slope // sides[0], (down + across) // 2], -1)
        Image.fromarray(x[number]).save(inside / f"{number + 1:06}.jpg", quality=95)
    attributes = np.random.default_rng(1).integers(0, 2, (listed, 40), dtype=np.uint8)
    partition = (np.arange(listed) * 3 // listed).astype(np.uint8)
    names = [f"Attribute_{number}" for number in range(40)]
    lines = [str(listed), " ".join(names) + " "]
    lines += [f"{n + 1:06}.jpg " + " ".join(f"{2 * int(a) - 1:2d}" for a in row) for n, row in enumerate(attributes)]
    (folder / "list_attr_celeba.txt").write_text("\n".join(lines) + "\n")
    (folder / "list_eval_partition.txt").write_text("".join(f"{n + 1:06}.jpg {p}\n" for n, p in enumerate(partition)))
    return {"x": x, "attributes": attributes[:count], "partition": partition[:count], "names": np.array(names)}


def image_folder(folder: Path, classes: tuple[str, ...] = ("cat", "dog"), each: int = 3, mode: str = "RGB") -> Arrays:
    """PNG files of 12x10 (width x height), in a subfolder a class, or in `folder` itself without classes."""
    found: dict[str, list] = {"x": [], "y": []}
    for number, name in enumerate(classes or ("",)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for place in range(each):
            x = pictures(1, 10, 12, 3, seed=10 * number + place)[0]
            picture = Image.fromarray(x).convert(mode)
            picture.save(folder / name / f"{place}.png")
            found["x"].append(np.asarray(picture).reshape(10, 12, -1).transpose(2, 0, 1))
            found["y"].append(number)
    return {"x": np.stack(found["x"]), "y": np.array(found["y"])}


def csv_table(path: Path, rows: int = 12, labels: tuple[str, ...] = ("a", "b", "c")) -> Arrays:
    """A csv of three columns of numbers and, with `labels`, a column `label` of names in turn."""
    path.parent.mkdir(parents=True, exist_ok=True)
    x = np.random.default_rng(0).standard_normal((rows, 3)).astype(np.float32)
    y = np.arange(rows) % max(1, len(labels))
    lines = ["height,width,depth" + (",label" if labels else "")]
    for row, number in zip(x, y, strict=True):
        lines.append(",".join(map(repr, row.tolist())) + (f",{labels[number]}" if labels else ""))
    path.write_text("\n".join(lines) + "\n")
    return {"x": x, "y": y} if labels else {"x": x}


def says(error: pytest.ExceptionInfo[Exception], path: Path, *words: str) -> None:
    """The message names the file and says what was found."""
    assert str(path) in str(error.value)
    for word in words:
        assert word in str(error.value)
