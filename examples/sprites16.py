"""Write sprites16.npz: `sprites` at 16 x 16, means of 4 by 4 pixels with a threshold at one half, and their factors.

So small, a study of disentanglement takes minutes on one core:

python examples/sprites16.py
polyvae study disentangle --data sprites16.npz --recipes "vae, beta_tcvae:beta=6, factor_vae:gamma=20" --seeds 5
    --epochs 25 --batch-size 64 --limit 10000 --latent 6 --widths 128,128 --scored 5000 --traversals 6
"""

from __future__ import annotations

import sys

import numpy as np

from polyvae.data.sources.sprites import grid

if __name__ == "__main__":
    made = grid(4, 10, 16)
    small = made["imgs"].reshape(-1, 16, 4, 16, 4).mean((2, 4)) >= 0.5
    np.savez(
        sys.argv[1] if len(sys.argv) > 1 else "sprites16.npz",
        x=small[:, None] * np.uint8(255),
        factors=made["latents_classes"],
    )
