"""The settings that say how minibatches are drawn from the replay buffer; `types.Sampling.of` reads them."""

from __future__ import annotations

from polyak.fields import number
from polyak.tree import pytree


@pytree
class SamplingSettings:
    """N-step returns and prioritized replay."""

    n_step: int = number(default=1, least=1, static=True)
    """Rewards that a target adds up before it bootstraps."""
    priority_alpha: float | None = number(default=None, least=0)
    """Exponent α of prioritized replay; None: every transition is equally likely."""
    priority_beta: float = number(default=0.4, least=0, most=1)
    """Exponent β of its importance weights at the start; it rises to 1 over the run."""
