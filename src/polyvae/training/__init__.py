"""Training: `fit`, the loop and its exact resume, the run folder, and what a trained run can be asked.

Names are imported when first used: the settings are read where nothing else of training is.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)  # pyright: ignore
