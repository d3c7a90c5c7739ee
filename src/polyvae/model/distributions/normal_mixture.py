"""A mixture of normals whose draws have gradients, also to the weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Size, Tensor
from torch.distributions import MixtureSameFamily, Normal

from polyvae.model.distributions.law import HALF_LOG_TWO_PI
from polyvae.model.precision import wide

_LEAST = 1e-300  # of a density that is divided by


class NormalMixture(MixtureSameFamily):
    """sum_k w_k N(mu_k, diag s_k^2) over a vector, its draws differentiated implicitly, dimension by dimension.

    A component is chosen, and z drawn from it: no gradient passes through the choice. But u_i = F(z_i | z_1 .. z_i-1),
    the conditional distribution functions, are uniform whatever the parameters: held fixed they say how z moves,
    dz = -(du / dz)^-1 du / dparameters, du / dz lower triangular. With w_ki the weights given z_1 .. z_i-1,

    u_i = sum_k w_ki Phi_ki, du_i / dz_i = sum_k w_ki N_ki, du_i / dz_j = sum_k w_ki (Phi_ki - u_i) dlog N_kj / dz_j

    The gradient of an expectation is then unbiased in weights, locs and scales. Where components stand many scales
    apart its spread is large: what moves from one to the other passes through where the density is almost nothing.

    Figurnov, Mohamed, Mnih: Implicit Reparameterization Gradients, 2018.
    """

    has_rsample = True

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        with torch.no_grad():
            normal, shape = self._normal, Size(sample_shape)
            lead = shape + self.batch_shape
            eps = torch.randn(lead + self.event_shape, dtype=normal.loc.dtype, device=normal.loc.device)
            chosen = self.mixture_distribution.sample(shape)[..., None, None]
            loc, scale = (
                each.expand(*shape, *each.shape).take_along_dim(chosen, -2).squeeze(-2)
                for each in (normal.loc, normal.scale)
            )
            return loc + scale * eps

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        z = self.sample(sample_shape)
        normal, logits = self._normal, self.mixture_distribution.logits
        if not torch.is_grad_enabled() or not any(each.requires_grad for each in (normal.loc, normal.scale, logits)):
            return z
        loc, scale, log_w = wide(normal.loc), wide(normal.scale), wide(logits).unsqueeze(-1)
        t = (wide(z).unsqueeze(-2) - loc) / scale  # [..., K, d]
        log_n = -0.5 * t.square() - scale.log() - HALF_LOG_TWO_PI
        before = torch.cat([torch.zeros_like(log_n[..., :1]), log_n[..., :-1]], -1).cumsum(-1)
        w, below = (log_w + before).softmax(-2), torch.special.ndtr(t)
        u = (w * below).sum(-2)
        with torch.no_grad():
            jacobian = ((w * (below - u.unsqueeze(-2))).mT @ (-t / scale)).tril(-1)
            density = (w * log_n.exp()).sum(-2).clamp(min=_LEAST)
            jacobian = jacobian + density.diag_embed()
        moved = torch.linalg.solve_triangular(jacobian, (u.detach() - u).unsqueeze(-1), upper=False)
        return z + moved.squeeze(-1).to(z.dtype)  # a zero, whose gradient is that of z

    @property
    def _normal(self) -> Normal:
        """All components, locs and scales [*batch, K, d]."""
        return self.component_distribution.base_dist  # pyright: ignore[reportAttributeAccessIssue]
