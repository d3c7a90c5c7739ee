"""Archives unpacked without trust: only plain files, only below the target folder, each complete or absent."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import tarfile
import tempfile
import time
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath

from polyvae.data.errors import DataError

PART = ".part-"
AGAIN = "delete it and fetch it again"


@contextmanager
def part_folder(folder: Path) -> Iterator[Path]:
    """A folder inside `folder` for incomplete files; its name tells the process that made it, for `sweep`."""
    with tempfile.TemporaryDirectory(prefix=f"{PART}{_host()}-{os.getpid()}-", dir=folder) as part:
        yield Path(part)


def sweep(folder: Path) -> None:
    """Removes the part folders that killed processes of this machine left, and any that is older than a day."""
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
    """Unpacks a .zip or .tar(.gz) into `folder`; existing files are not touched.

    Everything is unpacked beside and renamed. Refused with a `DataError`: names that leave the folder (`..`, absolute),
    links, devices, and archives that are truncated or not archives.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with part_folder(folder) as part:
        try:
            if zipfile.is_zipfile(archive):
                with zipfile.ZipFile(archive) as zipped:
                    for info in zipped.infolist():
                        _check(archive, info.filename, stat.S_IFMT(info.external_attr >> 16) != stat.S_IFLNK)
                    zipped.extractall(part)
            elif tarfile.is_tarfile(archive):
                with tarfile.open(archive) as tarred:
                    for member in tarred.getmembers():
                        _check(archive, member.name, member.isfile() or member.isdir())
                    tarred.extractall(part, filter="data")
            else:
                raise DataError(archive, "a .zip or .tar.gz archive", "neither", AGAIN)
        except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError) as error:
            raise DataError(archive, "a whole archive", f"a damaged one ({error})", AGAIN) from error
        for path in part.rglob("*"):
            if path.is_file():
                with path.open("rb+") as file:
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


def _check(archive: Path, name: str, plain: bool) -> None:
    """DataError for a member that is no `plain` file or folder, or whose name leaves the folder on POSIX or Windows.

    Both libraries would silently change such a name, or leave the member out.
    """
    paths = (PurePosixPath(name), PureWindowsPath(name))
    if not plain or any(path.is_absolute() or path.drive or path.root or ".." in path.parts for path in paths):
        raise DataError(
            archive,
            "plain files below its own folder",
            f"{name!r}, which is a link, a device or leads outside",
            "do not use this archive; get it from its official address",
        )
