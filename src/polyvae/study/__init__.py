"""Grids of runs over folds: the study of multitask autoencoders, its tables and its verdicts.

Names are imported when first used: what a command takes is read without torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)  # pyright: ignore
