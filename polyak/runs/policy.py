"""A trained policy: what is needed to act, and nothing else. Saved as safetensors and JSON, without pickle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces

from polyak import algorithms
from polyak.envs.flatten import flatten_batch, refuse_nonfinite
from polyak.envs.spaces import ActionScale, from_json, spec_of, to_json
from polyak.errors import UsageError
from polyak.lazy import jax
from polyak.runs import files
from polyak.training.acting import Acting
from polyak.tree import take


class Policy:
    """Acts on one observation or a batch: NumPy in, NumPy out, in the environment's own units."""

    def __init__(self, algorithm: Any, config: Any, tree: Any, observation_space: Any, action_space: Any, seed: int):
        """Wrap one seed's policy tree (NumPy arrays without a lane axis)."""
        self.algorithm, self.config, self.seed = algorithm, config, seed
        self.observation_space, self.action_space = observation_space, action_space
        self.spec, self.scale = spec_of(observation_space, action_space), ActionScale(action_space)
        self.tree = jax.tree.map(lambda leaf: leaf[None], tree)
        self.calls = 0
        self.actings: dict[tuple[int, bool], Acting] = {}

    def __call__(self, obs: Any, deterministic: bool = True) -> np.ndarray:
        """Choose actions for one observation of the environment's space, or for a batch of them.

        Raises ValueError if the observation does not fit the space, or is not finite.
        """
        return self.predict(obs, deterministic=deterministic)[0]

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = True
    ) -> tuple[np.ndarray, None]:
        """Choose actions as Stable-Baselines3 policies do, so that its tools (`evaluate_policy`) accept this one.

        `episode_start` `[batch]` says which observations begin an episode: noise that drifts starts afresh there.
        """
        with np.errstate(over="ignore", invalid="ignore"):  # what is too large for float32 becomes infinite
            rows, single = flatten_batch(self.observation_space, observation)
            refuse_nonfinite(rows)
        actions = self.act(rows, episode_start, deterministic)
        if single:  # in a box an array, even where it has no axes; of indices a number
            return np.asarray(actions[0]) if isinstance(self.action_space, spaces.Box) else actions[0], None
        return actions, None

    def act(self, rows: np.ndarray, episode_start: Any = None, deterministic: bool = True) -> np.ndarray:
        """Choose actions for flat observations `[batch, obs]`, as `polyak.envs.flatten` makes them."""
        if not len(rows):
            return np.zeros((0, *self.action_space.shape), self.action_space.dtype)
        acting = self._acting(len(rows), explore=not deterministic)
        for i in np.flatnonzero(np.broadcast_to(False if episode_start is None else episode_start, len(rows))):
            acting.forget(0, int(i))
        acting.begin([self.calls])
        self.calls += 1
        return self.scale(acting(rows[None])[0])

    def _acting(self, count: int, explore: bool) -> Acting:
        if (count, explore) not in self.actings:
            acting = Acting(self.algorithm, self.config, self.spec, [self.seed], count, explore)
            acting.follow(self.tree)
            self.actings[count, explore] = acting
        return self.actings[count, explore]


def save(folder: Path, facts: dict[str, Any], trees: dict[str, Any], spaces_: tuple[Any, Any]) -> None:
    """Save the policies of all seeds (`trees["final"]`, `trees["best"]`, each with a leading lane axis)."""
    described = {"observation_space": to_json(spaces_[0]), "action_space": to_json(spaces_[1])}
    files.save_set(folder, "policy.json", {**facts, **described}, trees)


class Saved:
    """The policy folder of a run: every seed's final and best policy."""

    def __init__(self, folder: Path):
        """Read a policy folder. Raises UsageError if it is missing, damaged or changed."""
        path = folder / "policy.json"
        keys = ("algorithm", "config", "seeds", "observation_space", "action_space", "files", "favorite")
        facts = files.read_json(path, keys)
        if not (files.are_seeds(facts["seeds"]) and isinstance(facts["files"], dict)):
            raise UsageError(f"{path} is damaged or was changed")
        self.folder, self.facts, self.seeds = folder, facts, facts["seeds"]
        _, self.algorithm = algorithms.find(facts["algorithm"])
        self.config = files.settings_from_json(self.algorithm.Config, facts["config"], path)
        try:
            self.observation_space, self.action_space = (
                from_json(facts[f"{part}_space"]) for part in ("observation", "action")
            )
        except (ValueError, KeyError, TypeError, AttributeError, AssertionError) as error:
            raise UsageError(f"{path}: a space is damaged ({error})") from error
        self.spec = spec_of(self.observation_space, self.action_space)

    def tree(self, which: str) -> Any:
        """Load the policies of all seeds, `which` being "best" or "final"."""
        if which not in self.facts["files"]:
            raise UsageError(f"there is no {which!r} policy in {self.folder}: choose best or final")
        template = policy_template(self.algorithm, self.config, self.spec, len(self.seeds))
        return files.load_arrays(self.folder, self.facts["files"][which], template)

    def policy(self, which: str = "best", seed: int | None = None) -> Policy:
        """Load one seed's policy; by default that of the seed which its periodic evaluations put first."""
        seed = self.facts["favorite"] if seed is None else seed
        if seed not in self.seeds:
            raise UsageError(f"the run has no seed {seed}: its seeds are {', '.join(map(str, self.seeds))}")
        tree = take(self.tree(which), self.seeds.index(seed))
        return Policy(self.algorithm, self.config, tree, self.observation_space, self.action_space, seed)


def policy_template(algorithm: Any, config: Any, spec: Any, lanes: int) -> Any:
    """Describe the shapes of the policies of some lanes without making any."""

    def make(key: jax.Array) -> Any:
        return algorithm.init(config, spec, key).policy

    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), lanes))
    return jax.eval_shape(jax.vmap(make), keys)
