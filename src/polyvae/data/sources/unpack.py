"""Archives unpacked without trust: only plain files, only below the target folder, each there whole or not at all."""

from __future__ import annotations

import os
import shutil
import socket
import tarfile
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from polyvae.data.errors import DataError

Member = tuple[str, Callable[[], IO[bytes] | None]]

PART = ".part-"
AGAIN = "delete it and fetch it again"


@contextmanager
def part_folder(folder: Path) -> Iterator[Path]:
    """A folder inside `folder` for what is not whole yet; its name tells whose it is, so that `sweep` can judge it."""
    with tempfile.TemporaryDirectory(prefix=f"{PART}{_host()}-{os.getpid()}-", dir=folder) as part:
        yield Path(part)


def sweep(folder: Path) -> None:
    """Remove the part folders that killed processes of this machine left, and any that is older than a day."""
    for litter in folder.glob(f"{PART}*"):
        host, process = [*litter.name.removeprefix(PART).split("-"), ""][:2]
        here = os.name == "posix" and host == _host() and process.isdigit()
        if (here and not _alive(int(process))) or time.time() - litter.stat().st_mtime > 86_400:
            shutil.rmtree(litter, ignore_errors=True)


def _host() -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in socket.gethostname())


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a .zip or .tar(.gz) into `folder`; files that are already there are left alone.

    Everything is unpacked beside and renamed. Refused with a `DataError`: names that leave the folder (`..`, absolute),
    links, devices, and archives that end early or are none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with part_folder(folder) as part:
        with _members(archive) as members:
            for name, read in members:
                target = part / name
                target.parent.mkdir(parents=True, exist_ok=True)
                source = read()
                if source is None:
                    raise _unsafe(archive, name)
                with source, target.open("wb") as file:
                    shutil.copyfileobj(source, file, 2**20)
                    file.flush()
                    os.fsync(file.fileno())
        _move(part, folder)


def _move(part: Path, folder: Path) -> None:
    """Rename whole folders where the target is free, else file by file."""
    for path in sorted(part.iterdir()):
        target = folder / path.name
        if not path.is_dir():
            if not target.exists():
                os.replace(path, target)
            continue
        try:
            os.rename(path, target)
        except OSError:
            if not target.is_dir():
                raise
            _move(path, target)


@contextmanager
def _members(archive: Path) -> Iterator[list[Member]]:
    """The plain files of an archive: checked name and a function that opens it."""
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as zipped:
                yield [_zip_member(archive, zipped, info) for info in zipped.infolist() if not info.is_dir()]
        elif tarfile.is_tarfile(archive):
            with tarfile.open(archive) as tarred:
                yield [_tar_member(archive, tarred, info) for info in tarred.getmembers() if not info.isdir()]
        else:
            raise DataError(archive, "a .zip or .tar.gz archive", "neither", AGAIN)
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError) as error:
        raise DataError(archive, "a whole archive", f"a damaged one ({error})", AGAIN) from error


def _zip_member(archive: Path, zipped: zipfile.ZipFile, info: zipfile.ZipInfo) -> Member:
    link = (info.external_attr >> 16) & 0o170000 == 0o120000
    if link or not _inside(info.filename):
        raise _unsafe(archive, info.filename)
    return info.filename, lambda: zipped.open(info)


def _tar_member(archive: Path, tarred: tarfile.TarFile, info: tarfile.TarInfo) -> Member:
    if not info.isfile() or not _inside(info.name):
        raise _unsafe(archive, info.name)
    return info.name, lambda: tarred.extractfile(info)


def _inside(name: str) -> bool:
    """Whether a member's name stays below the folder, read by the rules of either system."""
    paths = (PurePosixPath(name), PureWindowsPath(name))
    return bool(name) and not any(path.is_absolute() or path.drive or path.root or ".." in path.parts for path in paths)


def _unsafe(archive: Path, name: str) -> DataError:
    return DataError(
        archive,
        "plain files below its own folder",
        f"{name!r}, which is a link, a device or leads outside",
        "do not use this archive; get it from its official address",
    )
