"""The posterior of a discrete latent given the latents below it, which the priors say by themselves."""

from __future__ import annotations

from torch import nn
from torch.distributions import Distribution

from polyvae.model.distributions import OneHot
from polyvae.model.laws import repeat
from polyvae.model.parts import given
from polyvae.model.vae import Values


class Bayes(nn.Module):
    """q(c | z, ...) = p(c) p(z | c, ...) / sum_c p(c) p(z | c, ...), exact: no network guesses it.

    `latent`: the name of c, whose `prior` lists its values. `below`: the name of z, and `law` p(z | c, ...), both parts
    of the model. The bound of a model that sums over c is then E_q(z | x)[log p(x | z) - log q(z | x) + log p(z)], with
    p(z) the mixture over c.

    Dilokthanakul, Mediano, Garnelo, Lee, Salimbeni, Arulkumaran, Shanahan: Deep Unsupervised Clustering with Gaussian
    Mixture Variational Autoencoders, 2016; Jiang, Zheng, Tan, Tang, Zhou: Variational Deep Embedding, 2017.
    """

    def __init__(self, latent: str, prior: nn.Module, below: str, law: nn.Module) -> None:
        super().__init__()
        if latent not in given(law):
            raise ValueError(f"the law of {below!r} reads {list(given(law))}, of which none is the class {latent!r}")
        self.latent, self.below, self.prior, self.law = latent, below, prior, law
        self.given = tuple(dict.fromkeys([below, *given(prior), *(n for n in given(law) if n != latent)]))

    def forward(self, values: Values) -> Distribution:
        prior = self.prior(values)
        support, rows = prior.enumerate_support(), len(values[self.below])
        count = len(support)
        support = support.unsqueeze(1) if support.ndim == 2 else support
        read = {name: repeat(values[name], count) for name in self.given}
        read[self.latent] = support.expand(count, rows, -1).flatten(0, 1)
        log_p = self.law(read).log_prob(read[self.below]).view(count, rows).T
        return OneHot(log_p + prior.logits)

    def extra_repr(self) -> str:
        return f"given={self.given}"
