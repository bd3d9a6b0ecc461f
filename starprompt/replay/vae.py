"""A small variational autoencoder of one class's features (Kingma & Welling 2014).

Sizes, standardisation and schedule follow the generative latent replay of Frascaroli et al. 2024
(arXiv 2407.15793), whose released code (mammoth, ``models/cgil_utils/vae.py``) has one per class.
"""

from typing import Literal, cast

import torch
from torch import Tensor, nn


class FeatureVAE(nn.Module):
    """Encoder and decoder of two hidden layers each; samples come in the features' own units.

    posterior_noise  what multiplies the noise of a posterior sample: "variance", exp(log variance),
                     as released; "deviation", its square root, as in the textbook
    """

    mean: Tensor
    scale: Tensor

    def __init__(
        self,
        dim: int,
        hidden: int,
        latent: int,
        posterior_noise: Literal["variance", "deviation"] = "variance",
    ) -> None:
        super().__init__()
        self.log_variance_factor = 1.0 if posterior_noise == "variance" else 0.5
        self.latent = latent
        self.encoder = nn.Sequential(
            nn.Linear(dim, hidden),
            nn.BatchNorm1d(hidden),
            nn.LeakyReLU(0.2),
            nn.Linear(hidden, hidden),
            nn.BatchNorm1d(hidden),
            nn.LeakyReLU(0.2),
            nn.Linear(hidden, 2 * latent),
        )
        self.decoder = nn.Sequential(
            nn.Linear(latent, hidden),
            nn.LeakyReLU(0.2),
            nn.Linear(hidden, hidden),
            nn.LeakyReLU(0.2),
            nn.Linear(hidden, dim),
        )
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("scale", torch.ones(dim))

    def loss(self, standardised: Tensor, noise: Tensor | None = None) -> Tensor:
        """Negative evidence bound of features (B, dim), nats per sample, constants left out.

        noise (B, latent) of the posterior samples; drawn where it is None.
        """
        mean, log_variance = self.encoder(standardised).chunk(2, dim=-1)
        noise = torch.randn_like(mean) if noise is None else noise
        drawn = mean + noise * (self.log_variance_factor * log_variance).exp()
        reconstruction = 0.5 * (self.decoder(drawn) - standardised).square().sum(dim=-1)
        divergence = 0.5 * (log_variance.exp() + mean.square() - 1 - log_variance).sum(dim=-1)
        return (reconstruction + divergence).mean()

    def fit(self, features: Tensor, epochs: int, lr: float, batch_size: int = 64) -> Tensor:
        """Learn features (N, dim), N at least 2; returns the mean loss of every epoch (epochs,)."""
        self.mean.copy_(features.mean(dim=0))
        self.scale.copy_(features.std(dim=0).clamp_min(1e-6))
        standardised = (features - self.mean) / self.scale
        optimiser = torch.optim.Adam(self.parameters(), lr=lr)
        schedule = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(
            optimiser, T_0=max(1, epochs // 10), T_mult=2
        )
        self.train()
        means = []
        for _ in range(epochs):
            losses = []
            for rows in torch.randperm(len(features), device=features.device).split(batch_size):
                if len(rows) < 2:  # batch normalisation needs two
                    continue
                loss = self.loss(standardised[rows])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                losses.append(loss.detach())
            schedule.step()
            means.append(torch.stack(losses).mean())
        self.eval()
        return torch.stack(means)

    @torch.no_grad()
    def sample(self, n: int) -> Tensor:
        """(n, dim) features drawn from the class."""
        return self.decoded(torch.randn(n, self.latent, device=self.mean.device))

    def decoded(self, latents: Tensor) -> Tensor:
        """(n, dim) features, in their own units, of latents (n, latent)."""
        return cast(Tensor, self.decoder(latents)) * self.scale + self.mean
