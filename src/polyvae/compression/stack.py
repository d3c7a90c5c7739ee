"""The stack of bits that symbols are pushed on and popped from: asymmetric numeral systems, by constriction."""

from __future__ import annotations

from typing import Any

import numpy as np

_NEEDED = "compression needs constriction, a coder of bits: pip install 'polyvae[compression]'"


class Stack:
    """Bits on which symbols are pushed and popped: a push is undone by the pop of the same counts, and a pop by a push.

    A symbol of n of 2^24 counts takes 24 - log2 n bits when it is pushed, and gives as many when it is popped: what is
    popped from random bits is a draw from the counts. `words`, uint32, is what lies there at first, the last not 0.
    Without them it is empty. ImportError where constriction is not installed.

    Duda: Asymmetric numeral systems, 2013; Townsend, Bird, Barber: Practical Lossless Compression with Latent Variables
    Using Bits Back Coding, 2019.
    """

    def __init__(self, words: np.ndarray | None = None) -> None:
        stream = _constriction().stream
        self._coder = stream.stack.AnsCoder() if words is None else stream.stack.AnsCoder(words)
        self._counts = stream.model.Categorical(perfect=False)
        self.untouched: int = self._coder.pos()[0]

    def push(self, symbols: np.ndarray, counts: np.ndarray) -> None:
        """Symbols int64 [n] by counts int64 [n, S], in such an order that `pop` gives them back in theirs."""
        self._coder.encode_reverse(symbols.astype(np.int32), self._counts, _weights(counts))

    def pop(self, counts: np.ndarray) -> np.ndarray:
        """Symbols int64 [n] by counts int64 [n, S]."""
        symbols = self._coder.decode(self._counts, _weights(counts))
        self.untouched = min(self.untouched, self._coder.pos()[0])
        return symbols.astype(np.int64)

    @property
    def words(self) -> np.ndarray:
        """All that lies there, uint32."""
        return self._coder.get_compressed()

    @property
    def bits(self) -> int:
        """How many bits lie there."""
        return self._coder.num_valid_bits()


def _weights(counts: np.ndarray) -> np.ndarray:
    """What the library makes exactly these counts of.

    It gives each of S symbols one count, and shares the other 2^24 - S in proportion to its weights, rounded down as
    they are summed. Weights that are whole and sum to 2^24 - S are therefore shared as they are. It takes memory as it
    lies, whatever the strides.
    """
    return np.ascontiguousarray(counts - 1, np.float64)


def _constriction() -> Any:
    try:
        import constriction
    except ImportError as error:
        raise ImportError(_NEEDED) from error
    return constriction
