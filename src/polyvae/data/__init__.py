"""Data sets as named tensors: loaded by name or path, split by seed, batched by index on their device.

Names are imported when first used: the catalogue is read without torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)  # pyright: ignore
