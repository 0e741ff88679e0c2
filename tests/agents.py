"""Every registered algorithm, small and in the variants that matter, with its compiled `update` shared by all tests.

A new algorithm in the registry is tested with its default settings at once; VARIANTS may name more of its settings.
Those under a kind of action are for that kind alone.
"""

import dataclasses
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from polyak.algorithms import REGISTRY
from polyak.tree import replace
from polyak.types import Array, Box, Clock, Discrete, EnvSpec, MultiDiscrete, Sampling, Transition

VARIANTS: dict[str, dict[str, dict[Any, Any]]] = {
    "ddpg": {
        "plain": {},
        "everything": {
            "critic_state_layers": (16,),
            "critic_action_layers": (8,),
            "bound": "clip",
            "loss": "huber",
            "critic_weight_decay": 0.01,
            "gradient_norm": 0.5,
            "reward_scale": 0.1,
            "normalize_observations": True,
            "batch_norm": "batch",
            "noise": "ornstein-uhlenbeck",
        },
        "simba": {"architecture": "simba", "weight_decay": 0.01, "n_step": 3, "priority_alpha": 0.6},
    },
    "td3": {
        "plain": {"policy_delay": 1},
        "everything": {
            "critic_state_layers": (16,),
            "critic_action_layers": (8,),
            "num_critics": 3,
            "bound": "clip",
            "loss": "huber",
            "weight_decay": 0.01,
            "gradient_norm": 0.5,
            "final_init": 3e-3,
            "reward_scale": 0.1,
            "normalize_observations": True,
            "noise": "ornstein-uhlenbeck",
        },
        "simba": {"architecture": "simba", "priority_alpha": 0.6},
    },
    "sac": {
        "plain": {},
        "everything": {
            "alpha": 0.1,
            "alpha_loss": "paper",
            "target_entropy": -0.5,
            "loss": "huber",
            "weight_decay": 0.01,
            "gradient_norm": 0.5,
            "reward_scale": 0.1,
            "normalize_observations": True,
            Box: {
                "critic_state_layers": (16,),
                "critic_action_layers": (8,),
                "sigma_bound": "softplus",
                "noise_correlation": 0.9,
            },
        },
        "simba": {
            "architecture": "simba",
            "learn_alpha": False,
            "priority_alpha": 0.6,
            Box: {"sigma_bound": "tanh"},
        },
    },
    "crossq": {
        "plain": {"batch_norm": "off", "policy_delay": 1},
        "normalized": {"renorm_warmup": 3, "target_entropy": -0.5, "noise_correlation": 0.9},
    },
    "dqn": {
        "plain": {"double": False},
        "everything": {
            "layer_norm": True,
            "dueling": True,
            "tau": 1.0,
            "target_period": 3,
            "loss": "mse",
            "reward_scale": 0.1,
            "priority_alpha": 0.6,
        },
    },
    "soft_q": {
        "plain": {"num_critics": 1},
        "everything": {"alpha_end": 0.01, "layer_norm": True, "loss": "huber", "reward_scale": 0.1},
    },
    "reinforce": {
        "plain": {},
        "everything": {
            "entropy_coefficient": 0.01,
            "normalize_advantages": False,
            "activation": "relu",
            "gradient_norm": None,
            "lr_decay": 1.0,
            "reward_scale": 0.1,
            "normalize_observations": True,
        },
    },
    "a2c": {
        "plain": {},
        "everything": {
            "lam": 0.9,
            "optimizer": "adam",
            "lr_decay": 1.0,
            "entropy_coefficient": 0.01,
            "value_loss": "huber",
            "normalize_advantages": True,
            "shared_layers": (16,),
            "activation": "relu",
            "reward_scale": 0.1,
            "normalize_observations": True,
        },
    },
    "ppo": {
        "plain": {"minibatch": 8, "epochs": 2},
        "everything": {
            "minibatch": 4,
            "epochs": 3,
            "lr_decay": 1.0,
            "anneal_clip": 0.5,
            "value_clip": 0.2,
            "target_kl": 0.05,
            "entropy_coefficient": 0.01,
            "normalize_observations": True,
            "normalize_rewards": True,
            "activation": "relu",
        },
    },
}
SPECS = {
    Box: EnvSpec(3, Box(2)),
    Discrete: EnvSpec(3, Discrete(4)),
    MultiDiscrete: EnvSpec(3, MultiDiscrete((2, 3))),
}
CASES = [(name, variant) for name in REGISTRY for variant in VARIANTS.get(name, {"default": {}})]
TIME, ENVS = 8, 2  # of a rollout; a batch has as many rows
# for programs that run a few times only; compiling is nearly all that their tests do
QUICKLY: dict[str, Any] = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


@dataclass(frozen=True, eq=False)
class Agent:
    """One algorithm with one Config on one kind of action."""

    name: str
    variant: str
    spec: EnvSpec
    config: Any

    @property
    def algorithm(self) -> Any:
        """The module."""
        return REGISTRY[self.name]

    @property
    def fullest(self) -> bool:
        """Whether this is the variant with most switches on, the second one, on the first kind of action."""
        variants = [variant for name, variant in CASES if name == self.name]
        return self.variant == variants[:2][-1] and isinstance(self.spec.action, self.algorithm.acts_on[0])

    def init(self, seed: int = 0) -> Any:
        """Make a fresh state."""
        return self._init(self.config, jax.random.key(seed))

    def data(self, seed: int = 0, **fixed: float) -> Transition:
        """Make random data of the kind that `update` takes; `fixed` fields hold one number everywhere."""
        if self.algorithm.learns_from == "rollout":
            return transitions(self.spec, (TIME, ENVS), seed, **fixed)
        return as_drawn(self.sampling, transitions(self.spec, (TIME * ENVS,), seed, **fixed))

    def learned(self, updates: int, seed: int = 0) -> Any:
        """Make a state that has been updated some times."""
        state = self.init(seed)
        for step in range(updates):
            state, _ = self.update(state, self.data(step), step=step)
        return state

    def update(self, state: Any, data: Transition, seed: int = 0, step: int = 0) -> tuple[Any, Any]:
        """Update once, compiled."""
        return self.jitted(self.config, state, data, jax.random.key(seed), clock(step))

    @property
    def sampling(self) -> Sampling:
        """How its minibatches are drawn."""
        return self.algorithm.sampling(self.config) if hasattr(self.algorithm, "sampling") else Sampling()

    @property
    def normalizes_jointly(self) -> bool:
        """Whether s and s' pass through a batch norm together: each then depends on the other.

        So it must be where critics with a norm have no targets: those in training value s' as well.
        """
        state = self.init()
        return not hasattr(state, "target") and bool(jax.tree.leaves(getattr(state, "critic_statistics", ())))

    @cached_property
    def jitted(self) -> Any:
        """The compiled `update`."""
        return jax.jit(self.algorithm.update, compiler_options=QUICKLY)

    @cached_property
    def _init(self) -> Any:
        return jax.jit(lambda config, key: self.algorithm.init(config, self.spec, key), compiler_options=QUICKLY)


def clock(step: int) -> Clock:
    """Make the moment of an update, in a run of 100."""
    return Clock(jnp.int32(step), jnp.float32(step / 100))


def transitions(spec: EnvSpec, shape: tuple[int, ...], seed: int = 0, **fixed: float) -> Transition:
    """Make random transitions; some terminate, some are truncated, none both."""
    rng = np.random.default_rng(seed)
    ends = rng.uniform(size=shape)
    parts: dict[str, Array] = {
        "obs": rng.normal(size=(*shape, spec.obs_size)),
        "action": actions(spec, shape, rng),
        "reward": rng.normal(size=shape),
        "next_obs": rng.normal(size=(*shape, spec.obs_size)),
        "terminated": ends < 0.2,
        "truncated": ends > 0.8,
    }
    parts |= {name: np.full(np.shape(parts[name]), value) for name, value in fixed.items()}
    dtypes = {name: np.int32 if name == "action" and not isinstance(spec.action, Box) else np.float32 for name in parts}
    return Transition(**{name: jnp.asarray(part, dtypes[name]) for name, part in parts.items()})


def as_drawn(sampling: Sampling, batch: Transition) -> Transition:
    """Add what n-step returns and prioritized replay add to a batch: 1 to n n-step, and weights."""
    rows = len(batch.reward)
    n_steps, weight = 1 + np.arange(rows) % sampling.n_step, np.linspace(0.1, 1, rows)
    return replace(
        batch,
        n_steps=None if sampling.n_step == 1 else jnp.asarray(n_steps, jnp.float32),
        weight=None if sampling.priority_alpha is None else jnp.asarray(weight, jnp.float32),
    )


def actions(spec: EnvSpec, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Draw random actions."""
    if isinstance(spec.action, Discrete):
        return rng.integers(spec.action.n, size=shape)
    if isinstance(spec.action, MultiDiscrete):
        return rng.integers(spec.action.sizes, size=(*shape, len(spec.action.sizes)))
    return rng.uniform(-1, 1, size=(*shape, spec.action.size))


def small(config: Any) -> Any:
    """Shrink all layers of a config to 16 units."""
    layers = {f.name: (16,) * len(getattr(config, f.name)) for f in dataclasses.fields(config) if "layers" in f.name}
    return dataclasses.replace(config, **layers)


@cache
def agent(name: str, variant: str, kind: type | None = None) -> Agent:
    """Return an agent, always the same one, so that all tests share its compiled functions."""
    algorithm = REGISTRY[name]
    kind = kind or algorithm.acts_on[0]
    settings = settings_for(kind, VARIANTS.get(name, {"default": {}})[variant])
    return Agent(name, variant, SPECS[kind], small(algorithm.Config(**settings)))


def settings_for(kind: type, given: dict[Any, Any]) -> dict[str, Any]:
    """Return the settings for one kind of action: those of all kinds, and its own."""
    return {name: value for name, value in given.items() if isinstance(name, str)} | given.get(kind, {})


def every_agent() -> list[Agent]:
    """Return all algorithms in all variants on all their kinds of action."""
    return [agent(name, variant, kind) for name, variant in CASES for kind in REGISTRY[name].acts_on]


def label(case: Agent) -> str:
    """Name an agent in pytest's output."""
    return f"{case.name}-{case.variant}-{type(case.spec.action).__name__.lower()}"
