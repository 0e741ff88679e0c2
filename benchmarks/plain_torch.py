"""DDPG as tutorials write it in PyTorch: one environment, a replay in NumPy, eager updates.

The baseline of throughput.py, written with care: whole minibatches are gathered at once, nothing is built that is not
used, and targets move in place. `recipe.every` chooses between updates after every step and after every episode.
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import gymnasium
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import smooth_l1_loss


@dataclass(frozen=True)
class Recipe:
    """The loop's settings. Noise is in units of the [-1, 1] action."""

    actor_layers: tuple[int, ...] = (128, 64)
    critic_state_layers: tuple[int, ...] = ()
    critic_action_layers: tuple[int, ...] = ()
    critic_joint_layers: tuple[int, ...] = (128, 64)
    actor_learning_rate: float = 1e-3
    critic_learning_rate: float = 1e-3
    gamma: float = 0.99
    tau: float = 0.005
    reward_scale: float = 1.0
    batch: int = 32
    capacity: int = 1_000_000
    warmup: int = 500
    updates: int = 1
    every: Literal["step", "episode"] = "step"
    noise: Literal["gaussian", "ornstein-uhlenbeck"] = "gaussian"


TUTORIAL = Recipe(
    critic_state_layers=(64,),
    critic_action_layers=(64,),
    critic_joint_layers=(32,),
    actor_learning_rate=5e-4,
    reward_scale=0.01,
    capacity=50_000,
    warmup=2_000,
    updates=10,
    every="episode",
    noise="ornstein-uhlenbeck",
)


@dataclass(frozen=True)
class Progress:
    """Where the loop is after a visit to the learner; `total` is the return of an episode that has just ended."""

    env_steps: int
    updates: int
    total: float | None


def run(recipe: Recipe, env_id: str, seed: int) -> Iterator[Progress]:
    """Train without end; yield after every visit to the learner."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    env = gymnasium.make(env_id)
    obs, _ = env.reset(seed=seed)
    learner = Learner(recipe, obs.size, env.action_space.shape[0])
    replay = Replay(recipe.capacity, obs.size, env.action_space.shape[0], rng)
    noise = NOISES[recipe.noise](env.action_space.shape[0], rng)
    limit = env.action_space.high
    total, env_steps, updates = 0.0, 0, 0
    while True:
        action = np.clip(learner.act(obs) + noise(), -1.0, 1.0)
        next_obs, reward, terminated, truncated, _ = env.step((action * limit).astype(np.float32))
        replay.add(obs, action, reward * recipe.reward_scale, next_obs, terminated)
        ended = terminated or truncated
        env_steps, total = env_steps + 1, total + float(reward)
        obs = env.reset()[0] if ended else next_obs
        if recipe.every == "step" or ended:
            if env_steps > recipe.warmup:
                for _ in range(recipe.updates):
                    learner.update(*replay.sample(recipe.batch))
                updates += recipe.updates
            yield Progress(env_steps, updates, total if ended else None)
        total = 0.0 if ended else total


def mlp(inputs: int, layers: tuple[int, ...]) -> nn.Sequential:
    """Stack linear layers, each followed by a ReLU."""
    pairs = [(nn.Linear(a, b), nn.ReLU()) for a, b in pairwise((inputs, *layers))]
    return nn.Sequential(*(part for pair in pairs for part in pair))


class Actor(nn.Module):
    """The policy μ(s), in [-1, 1]."""

    def __init__(self, obs: int, action: int, layers: tuple[int, ...]):
        super().__init__()
        self.net = nn.Sequential(mlp(obs, layers), nn.Linear(layers[-1], action), nn.Tanh())

    def forward(self, obs: Tensor) -> Tensor:
        """Return actions `[batch, action]`."""
        return self.net(obs)


class Critic(nn.Module):
    """The value Q(s, a): a stream for each, or none, and then layers that see both."""

    def __init__(self, obs: int, action: int, recipe: Recipe):
        super().__init__()
        state, by_action, joint = recipe.critic_state_layers, recipe.critic_action_layers, recipe.critic_joint_layers
        self.state, self.action = mlp(obs, state), mlp(action, by_action)
        width = (obs, *state)[-1] + (action, *by_action)[-1]
        self.joint = nn.Sequential(mlp(width, joint), nn.Linear(joint[-1], 1))

    def forward(self, obs: Tensor, action: Tensor) -> Tensor:
        """Return values `[batch, 1]`."""
        return self.joint(torch.cat([self.state(obs), self.action(action)], 1))


class Learner:
    """Actor, critic, their targets and optimizers."""

    def __init__(self, recipe: Recipe, obs: int, action: int):
        self.recipe = recipe
        self.actor, self.critic = Actor(obs, action, recipe.actor_layers), Critic(obs, action, recipe)
        self.target_actor, self.target_critic = copy.deepcopy(self.actor), copy.deepcopy(self.critic)
        self.actor_optimizer = torch.optim.Adam(self.actor.parameters(), recipe.actor_learning_rate)
        self.critic_optimizer = torch.optim.Adam(self.critic.parameters(), recipe.critic_learning_rate)

    @torch.no_grad()
    def act(self, obs: np.ndarray) -> np.ndarray:
        """Return the action for one observation."""
        return self.actor(torch.from_numpy(obs)).numpy()

    def update(self, obs: Tensor, action: Tensor, reward: Tensor, next_obs: Tensor, terminated: Tensor) -> None:
        """Take one gradient step of the critic and one of the actor, then move the targets."""
        with torch.no_grad():
            next_q = self.target_critic(next_obs, self.target_actor(next_obs))
            y = reward + self.recipe.gamma * (1 - terminated) * next_q
        self.critic_optimizer.zero_grad()
        smooth_l1_loss(self.critic(obs, action), y).backward()
        self.critic_optimizer.step()

        self.actor_optimizer.zero_grad()
        (-self.critic(obs, self.actor(obs)).mean()).backward()
        self.actor_optimizer.step()

        self.follow(self.target_actor, self.actor)
        self.follow(self.target_critic, self.critic)

    @torch.no_grad()
    def follow(self, target: nn.Module, net: nn.Module) -> None:
        """Move a target a little towards its network."""
        for slow, fast in zip(target.parameters(), net.parameters(), strict=True):
            slow.lerp_(fast, self.recipe.tau)


class Replay:
    """A ring of transitions, one row each, so that a minibatch is a single gather."""

    def __init__(self, capacity: int, obs: int, action: int, rng: np.random.Generator):
        self.rows = np.zeros((capacity, 2 * obs + action + 2), np.float32)
        self.widths = [obs, action, 1, obs, 1]
        self.added, self.rng = 0, rng

    def add(self, obs: np.ndarray, action: np.ndarray, reward: float, next_obs: np.ndarray, terminated: bool) -> None:
        """Write a transition, over the oldest one when full."""
        row = self.rows[self.added % len(self.rows)]
        start = 0
        for part, width in zip((obs, action, reward, next_obs, terminated), self.widths, strict=True):
            row[start : start + width] = part
            start += width
        self.added += 1

    def sample(self, batch: int) -> tuple[Tensor, ...]:
        """Draw transitions uniformly: observation, action, reward, next observation, terminated, `[batch, ...]`."""
        drawn = self.rng.integers(min(self.added, len(self.rows)), size=batch)
        return torch.from_numpy(self.rows[drawn]).split(self.widths, 1)


def gaussian(size: int, rng: np.random.Generator) -> Callable[[], np.ndarray]:
    """Return independent noise of deviation 0.1."""
    return lambda: 0.1 * rng.standard_normal(size)


def ornstein_uhlenbeck(size: int, rng: np.random.Generator) -> Callable[[], np.ndarray]:
    """Return the tutorial's slow noise, never reset: θ = 0.1, σ = 0.1 of a torque of ±2, Δt = 0.01."""
    state = np.zeros(size)

    def step() -> np.ndarray:
        state[:] += -0.1 * 0.01 * state + 0.05 * np.sqrt(0.01) * rng.standard_normal(size)
        return state

    return step


NOISES = {"gaussian": gaussian, "ornstein-uhlenbeck": ornstein_uhlenbeck}
