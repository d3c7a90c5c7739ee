"""A small run asked for at the command line, and what a command answers."""

from __future__ import annotations

from collections.abc import Callable

TINY = ["--data", "digits", "--network", "mlp", "--widths", "16", "--latent", "3", "--limit", "200"]
PNG = b"\x89PNG"
Say = Callable[..., tuple[int, str, str]]
