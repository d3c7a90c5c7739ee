"""Names that the literature has for recipes. Nothing here imports torch."""

from __future__ import annotations

from collections.abc import Mapping

# What the literature calls a recipe, in small letters alone, and how it is asked for.
CALLED: Mapping[str, str] = {
    "aae": "adversarial_autoencoder",
    "clustering": "vade",
    "fvaegan": "zero_shot_vae_gan",
    "fvaegand2": "zero_shot_vae_gan",
    "fsq": "vq_vae with the quantiser finite-scalar",
    "infovae": "mmd_vae",
    "lfq": "vq_vae with the quantiser lookup-free",
    "miwaeimputation": "incomplete",
    "notmiwae": "incomplete with missing self-masking",
    "semisupervised": "m2",
    "rqvae": "vq_vae with the quantiser residual",
    "stl": "sticking_the_landing",
    "tvo": "thermodynamic",
    "zerovaegan": "zero_shot_vae_gan",
}


def meant(name: str) -> str:
    """What to say of a recipe's name that others have for it, or nothing."""
    found = CALLED.get("".join(filter(str.isalnum, str(name))).lower())
    return f"; did you mean {found}?" if found else ""
