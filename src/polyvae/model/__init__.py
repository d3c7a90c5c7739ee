"""What a model is: conditional distributions over named values, and what one pass of them leaves behind.

Names are imported when first used: what data are, a `Spec`, is said without torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)  # pyright: ignore
