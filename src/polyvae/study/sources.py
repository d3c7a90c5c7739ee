"""The data of a study: what tables call them, and where processes with another working directory find them."""

from __future__ import annotations

import re
from pathlib import Path

from polyvae import data
from polyvae.data.sources.listing import unknown


def dataset_name(source: str) -> str:
    """What a data set is called in tables and names of folders: its name, or the stem of its path."""
    stem = Path(source).stem if re.search(r"[\\/.]", source) else source
    return re.sub(r"[^a-z0-9_]+", "_", stem.lower()).strip("_") or "data"


def whole_source(name: str) -> str:
    """The name of a data set, or the whole path of a file. Raises DataError for neither."""
    if name in data.names():
        return name
    path = Path(name).expanduser().absolute()
    if not path.exists():
        raise unknown(name)
    return str(path)
