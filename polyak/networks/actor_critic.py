"""The networks that off-policy actor-critics share, and the settings that describe them."""

from __future__ import annotations

from polyak.errors import UsageError
from polyak.fields import check, number
from polyak.lazy import jax
from polyak.networks.critics import Critic, ensemble_keys
from polyak.networks.layers import Architecture, Style
from polyak.numerics import normalize
from polyak.numerics.normalize import Normalizer
from polyak.tree import pytree, static
from polyak.types import EnvSpec, Observation


@pytree
class ActorCriticSettings:
    """An actor, and critics Q(s, a)."""

    architecture: Architecture = static(default="mlp")
    """`mlp`, or `simba`: residual blocks with LayerNorm as wide as the layers say, on normalized observations."""
    actor_layers: tuple[int, ...] = number(default=(256, 256), least=1, static=True)
    """Widths of the actor's hidden layers."""
    critic_state_layers: tuple[int, ...] = number(default=(), least=1, static=True)
    """Widths of each critic's layers that see the observation alone."""
    critic_action_layers: tuple[int, ...] = number(default=(), least=1, static=True)
    """Widths of each critic's layers that see the action alone."""
    critic_joint_layers: tuple[int, ...] = number(default=(256, 256), least=1, static=True)
    """Widths of each critic's layers that see both."""
    normalize_observations: bool = static(default=False)
    """Normalize observations by their running mean and deviation."""

    def __post_init__(self) -> None:
        """Raise UsageError for values outside their limits, or if SimBa's residual blocks are not all of one width."""
        check(self)
        for name in ("actor_layers", "critic_joint_layers"):
            sizes = getattr(self, name)
            if self.architecture == "simba" and len(set(sizes)) != 1:
                raise UsageError(f"{name} = {sizes}: the blocks of SimBa have one width, such as 128 or 256 256")

    @property
    def critic_layers(self) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        """The layers of a critic: the state's, the action's, the joint ones."""
        return self.critic_state_layers, self.critic_action_layers, self.critic_joint_layers

    def normalizer(self, obs: Observation) -> Normalizer:
        """Make the normalizer of observations; SimBa always has one."""
        return normalize.make(obs, self.normalize_observations, self.architecture)


def create_critics(
    key: jax.Array, spec: EnvSpec, settings: ActorCriticSettings, count: int, final_init: float | None = None
) -> tuple[Critic, ...]:
    """Make `count` critics that differ in their initial weights alone."""
    layers, style = settings.critic_layers, Style(settings.architecture)
    return tuple(Critic.create(k, spec, layers, final_init, style) for k in ensemble_keys(key, count))
