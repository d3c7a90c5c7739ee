"""Variational autoencoders: one core, every variant a few lines.

Names are imported when first used, so that the command line starts without torch; `__init__.pyi` says where they live.
"""

from typing import Any

import lazy_loader

from polyvae.version import __version__ as __version__

_found, __dir__, _names = lazy_loader.attach_stub(__name__, __file__)
__all__ = [
    "__version__",
    *_names,
]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _names:
        raise AttributeError(f"module 'polyvae' has no attribute {name!r}")
    return _found(name)
