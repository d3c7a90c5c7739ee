"""Small archives in memory, well-meant and not."""

import io
import tarfile
import zipfile
from pathlib import Path


def tar(members, kind="w:gz"):
    """A tar archive of {name: bytes, or a TarInfo}."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=kind) as archive:  # type: ignore[call-overload]
        for name, body in members.items():
            info = body if isinstance(body, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.size = 0 if body is info else len(body)
            archive.addfile(info, None if body is info else io.BytesIO(body))
    return packed.getvalue()


def zipped(members):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, body in members.items():
            archive.writestr(name, body)
    return packed.getvalue()


def link(name, to, kind=tarfile.SYMTYPE):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, to
    return info


def left_over(folder: Path) -> list[str]:
    """The names of all that lies below a folder."""
    return sorted(path.name for path in folder.rglob("*"))
