"""Any Gymnasium environment, as lanes × environments stepped on the host.

Each episode is reset explicitly with a seed derived from (lane seed, environment, episode number). No autoreset hides
the last observation, and the current state of a deterministic environment is always `reset(seed)` plus the actions of
the unfinished episode. A run can therefore be resumed exactly, although environments cannot be saved.
"""

import contextlib
from collections.abc import Sequence

import numpy as np
from gymnasium import spaces

from polyak.envs.answers import first_observation, refuse_seedless, refuse_step, reward_of, truth
from polyak.envs.make import EnvSource, Maker, close, closed_on_error
from polyak.envs.observations import Reader
from polyak.envs.spaces import ActionScale, spec_of
from polyak.envs.wrappers import time_limit
from polyak.errors import RunError, describe
from polyak.tree import same, take, write
from polyak.types import Episode, Obs


def episode_seed(*numbers: int) -> int:
    """Derive the seed of an episode from identifying numbers: below 2³¹, as many simulators use signed seeds."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0]) & (2**31 - 1)


class Environment:
    """One environment, with observations as in `spec` and actions in its own units, as returned by `scale`."""

    def __init__(self, env: Maker, render_mode: str | None = None):
        source = EnvSource.of(env)
        self.env = source.make(render_mode)
        with closed_on_error(self.env):
            self._describe(source)

    def _describe(self, source: EnvSource) -> None:
        self.limit = time_limit(self.env)  # steps after which episodes are truncated; None: unknown
        self.observation_space, self.action_space = self.env.observation_space, source.acts_in(self.env)
        self.spec = spec_of(self.observation_space, self.action_space)
        self.scale = ActionScale(self.action_space)
        self.scalar = isinstance(self.action_space, spaces.Box) and self.action_space.shape == ()
        self.read = Reader(self.observation_space)

    def reset(self, seed: int) -> Obs:
        """Start an episode; return its first observation."""
        try:
            answer = self.env.reset(seed=seed)
        except TypeError as error:
            refuse_seedless(error)
            raise
        return self.read(first_observation(self.observation_space, answer))

    def step(self, action: np.ndarray) -> tuple[Obs, float, bool, bool]:
        """Take a step; return the true next observation, the reward, terminated and truncated."""
        # indexing an array without axes gives a NumPy scalar, which is what environments expect of an index
        answer = self.env.step(np.asarray(action) if self.scalar else action)
        try:
            obs, reward, terminated, truncated, _ = answer
        except (TypeError, ValueError):
            refuse_step(answer)
        if not (isinstance(terminated, TRUTH) and isinstance(truncated, TRUTH)):
            terminated, truncated = truth("terminated", terminated), truth("truncated", truncated)
        reward = float(reward) if isinstance(reward, float) else reward_of(reward)
        return self.read(obs), reward, terminated, truncated

    def close(self) -> None:
        """Release the environment."""
        close(self.env)


TRUTH = (bool, np.bool_)


class VectorEnv:
    """The environments of all lanes: `num_envs` for each lane seed, numbered from `first`.

    After `step`, `next_obs`, `reward`, `terminated` and `truncated` (`[lane, env, ...]`) describe the step just taken,
    and `obs` is what to act on next: it differs from `next_obs` where an episode ended and the next one began.
    """

    def __init__(self, env: Maker, seeds: Sequence[int], num_envs: int, first: int = 0):
        self.seeds, self.num_envs, self.first = list(seeds), num_envs, first
        self.copies: list[list[Environment]] = [[] for _ in seeds]
        with closed_on_error(self):
            self._open(EnvSource.of(env))

    def _open(self, source: EnvSource) -> None:
        for of_lane in self.copies:
            for _ in range(self.num_envs):
                of_lane.append(Environment(source))
        seeds, num_envs, one = self.seeds, self.num_envs, self.copies[0][0]
        self.spec, self.action_space, self.observation_space = one.spec, one.action_space, one.observation_space
        self.limit = one.limit
        shape = (len(self.seeds), num_envs)
        self.obs, self.next_obs = (self.spec.zeros(*shape) for _ in range(2))
        self.reward, self.terminated, self.truncated = (np.zeros(shape, np.float32) for _ in range(3))
        self.episodes = np.zeros(shape, np.int64)  # number of the episode under way
        self.totals = [[0.0] * num_envs for _ in seeds]
        self.actions: list[list[list[np.ndarray]]] = [[[] for _ in range(num_envs)] for _ in seeds]
        for lane in range(shape[0]):
            for e in range(num_envs):
                self._reset(lane, e)

    def step(self, actions: np.ndarray, lanes: Sequence[int]) -> list[Episode]:
        """Step all environments of the given lanes with actions `[lane, env, ...]`; return the episodes that ended.

        Raises RunError naming the step, seed and episode if an environment raises.
        """
        scaled, ended = self.copies[0][0].scale(actions), []
        for lane in lanes:
            for e in range(self.num_envs):
                self.actions[lane][e].append(actions[lane, e])
                if self._step(lane, e, scaled[lane, e]):
                    ended.append(self._finish(lane, e))
        return ended

    def restore(self, episodes: np.ndarray, actions: list[list[list[np.ndarray]]], obs: Obs) -> list[tuple[int, int]]:
        """Bring every environment to where it was: reset its episode, then repeat the episode's actions.

        Where that does not lead to the last observation `obs[lane, env]`, a new episode begins: the environment is not
        deterministic. Return lane and number of each such environment.
        """
        elsewhere = []
        for lane, of_lane in enumerate(actions):
            for e, taken in enumerate(of_lane):
                self.episodes[lane, e] = episodes[lane, e]
                if not self._repeat(lane, e, taken, take(obs, (lane, e))):
                    self.episodes[lane, e] += 1
                    self._reset(lane, e)
                    elsewhere.append((lane, e))
        return elsewhere

    def _repeat(self, lane: int, e: int, taken: list[np.ndarray], obs: Obs) -> bool:
        """Begin an episode and repeat its actions; return whether that led to this observation."""
        self._reset(lane, e)
        for action in taken:
            self.actions[lane][e].append(action)
            if self._step(lane, e, self.copies[lane][e].scale(action)):
                return False  # when these actions were first taken, the episode went on
        return not taken or same(take(self.obs, (lane, e)), obs)

    def close(self) -> None:
        """Release all environments."""
        with contextlib.ExitStack() as stack:  # also those after one that is interrupted
            for of_lane in self.copies:
                for env in of_lane:
                    stack.callback(env.close)

    def _step(self, lane: int, e: int, scaled: np.ndarray) -> bool:
        """Step one environment; return whether its episode ended."""
        try:
            obs, reward, terminated, truncated = self.copies[lane][e].step(scaled)
            if isinstance(obs, dict):
                write(self.next_obs, (lane, e), obs)
                write(self.obs, (lane, e), obs)
            else:  # a call less for each array shows in the speed of small tasks
                self.next_obs[lane, e] = self.obs[lane, e] = obs
            self.reward[lane, e] = reward
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # one that exits ends the run, not the process
            raise RunError(f"the environment failed {self._where(lane, e)}: {describe(error)}") from error
        self.totals[lane][e] += reward
        self.terminated[lane, e], self.truncated[lane, e] = terminated, truncated
        return bool(terminated or truncated)

    def _finish(self, lane: int, e: int) -> Episode:
        ended = Episode(lane, e, self.totals[lane][e], len(self.actions[lane][e]))
        self.episodes[lane, e] += 1
        self._reset(lane, e)
        return ended

    def _reset(self, lane: int, e: int) -> None:
        self.totals[lane][e], self.actions[lane][e] = 0.0, []
        try:
            seed = episode_seed(self.seeds[lane], self.first + e, int(self.episodes[lane, e]))
            write(self.obs, (lane, e), self.copies[lane][e].reset(seed))
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise RunError(f"the environment failed in the reset {self._where(lane, e)}: {describe(error)}") from error

    def _where(self, lane: int, e: int) -> str:
        step, episode = len(self.actions[lane][e]), self.episodes[lane, e]
        return f"at step {step} of episode {episode} of seed {self.seeds[lane]}, environment {self.first + e}"
