"""Files that a kill leaves old or new, never partly written; and files that one process at a time may hold."""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO
from uuid import uuid4

_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)  # of some file systems that several machines share


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a path beside `path` to write to; renames it into place if the block succeeds, else removes it.

    If `path` is a link, its target is replaced. Raises OSError that names `path` itself, which is what the user asked
    for, whatever step failed.
    """
    target = Path(os.path.realpath(path))
    part = target.with_name(f".{target.name}.{uuid4().hex[:8]}.part")  # its own: two may write the same file at once
    try:
        check_regular(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        yield part
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(target)
    except BaseException as error:
        with suppress(OSError):  # such as of a parent that is a file: then there is nothing to remove
            part.unlink(missing_ok=True)
        if isinstance(error, FileExistsError) and error.filename == str(target.parent):
            raise NotADirectoryError(errno.ENOTDIR, f"{path.parent} is a file, not a folder", str(path)) from error
        if isinstance(error, OSError) and error.errno and error.filename in (None, str(part), str(target.parent)):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def check_regular(path: Path) -> None:
    """OSError if the path is a folder, a device or a pipe, which no file may replace."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "it is a folder, and a file is to be written", str(path))
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "it is a device or a pipe, and a file is to be written", str(path))


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 text and renames it into place."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8", newline="\n")


@contextmanager
def held(path: Path, wait: bool = True) -> Iterator[None]:
    """Holds an exclusive lock on the file, which names this process; the system releases it however the process ends.

    `wait`: until the lock is free; otherwise BlockingIOError, which says who has it. Systems without such locks
    (Windows) lock nothing.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    file = _taken(path, wait)
    try:
        yield
    finally:
        if file is not None:
            try:
                path.unlink(missing_ok=True)  # while it is held: whoever waits for this file then makes a new one
            finally:
                file.close()


def _taken(path: Path, wait: bool) -> TextIO | None:
    try:
        import fcntl
    except ImportError:
        return None
    while True:
        file = path.open("a+", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.stat().st_ino == os.fstat(file.fileno()).st_ino:
                file.truncate(0)
                file.write(f"process {os.getpid()} on {socket.gethostname()}")
                file.flush()
                return file
        except BlockingIOError:
            if not wait:
                file.seek(0)
                holder = file.read() or "another process"
                file.close()
                raise BlockingIOError(errno.EWOULDBLOCK, holder, str(path)) from None
            time.sleep(0.2)
        except FileNotFoundError:  # it was let go of in between
            pass
        except OSError as error:
            file.close()
            if error.errno in _NO_LOCKS:
                return None
            raise
        file.close()
