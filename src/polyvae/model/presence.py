"""Modalities that some rows lack: the name of the truth values that say which rows have one."""

from __future__ import annotations

PRESENT = "_present"


def present(name: str) -> str:
    """The name of the truth values [B] that say in which rows a modality is there."""
    return f"{name}{PRESENT}"
