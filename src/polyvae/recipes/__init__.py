"""Recipes: one function a named variant, with its paper.

Names are imported when first used: what options may be is read without torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)  # pyright: ignore
