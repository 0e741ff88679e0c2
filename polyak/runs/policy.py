"""A trained policy: what is needed to act, and nothing else. Saved as safetensors and JSON, without pickle."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Annotated

import numpy as np
from gymnasium.spaces import Box
from numpy.typing import ArrayLike

from polyak import algorithms
from polyak.envs.observations import Reader, number_of, refuse_nonfinite
from polyak.envs.spaces import ActionScale, Spaces, from_json, spec_of, to_json
from polyak.errors import UsageError, shortened
from polyak.lazy import jax
from polyak.numerics.precision import in_32_bits
from polyak.runs import arrays, files, structure
from polyak.runs.conditions import are_seeds, is_count, is_table, is_word
from polyak.training import devices
from polyak.training.acting import Behavior, make_acting
from polyak.training.numpy_trial import Verdict
from polyak.training.protocols import Acting
from polyak.tree import map_leaves, take
from polyak.types import Algorithm, EnvSpec, Json, Obs, Tree


class Policy:
    """Acts on one observation or a batch: NumPy in, NumPy out, in the environment's own units."""

    def __init__(
        self,
        algorithm: Algorithm,
        config: Tree,
        tree: Tree,
        spaces: Spaces,
        seed: int,
        verdict: Verdict | None = None,
    ):
        """Wrap one seed's policy tree (NumPy arrays without a lane axis); `verdict`: whether it acts in NumPy."""
        self.algorithm, self.config, self.seed = algorithm, config, seed
        self.observation_space, self.action_space = spaces
        self.spec, self.scale = spec_of(*spaces), ActionScale(spaces.action)
        self.read = Reader(spaces.observation)
        self.tree = map_leaves(lambda leaf: leaf[None], tree)
        self.calls, self.verdict = 0, verdict
        self.actings: dict[tuple[int, bool], Acting] = {}

    def __call__(self, obs: object, deterministic: bool = True) -> np.ndarray:
        """Choose actions for one observation of the environment's space, or for a batch of them.

        Raises ValueError if the observation does not fit the space, or is not finite.
        """
        return self.predict(obs, deterministic=deterministic)[0]

    def predict(
        self,
        observation: object,
        state: object = None,
        episode_start: ArrayLike | None = None,
        deterministic: bool = True,
    ) -> tuple[np.ndarray, None]:
        """Choose actions as Stable-Baselines3 policies do, so that its tools (`evaluate_policy`) accept this one.

        `episode_start` `[batch]` says which observations begin an episode: noise that drifts starts afresh there.
        """
        with np.errstate(over="ignore", invalid="ignore"):  # what is too large for float32 becomes infinite
            rows, single = self.read.batch(observation)
            refuse_nonfinite(rows)
        actions = self.act(rows, episode_start, deterministic)
        if single:  # in a box an array, even where it has no axes; of indices a number
            return np.asarray(actions[0]) if isinstance(self.action_space, Box) else actions[0], None
        return actions, None

    def act(self, rows: Obs, episode_start: ArrayLike | None = None, deterministic: bool = True) -> np.ndarray:
        """Choose actions for observations `[batch, ...]`, as `polyak.envs.observations` reads them."""
        count = number_of(rows)
        if not count:
            return np.zeros((0, *(self.action_space.shape or ())), self.action_space.dtype)
        acting = self._acting(count, explore=not deterministic)
        for i in np.flatnonzero(np.broadcast_to(False if episode_start is None else episode_start, count)):
            acting.reset_memory(0, int(i))
        acting.seed([self.calls])
        self.calls += 1
        return self.scale(acting(take(rows, None))[0])

    def _acting(self, count: int, explore: bool) -> Acting:
        if (count, explore) not in self.actings:
            behavior = Behavior(self.algorithm, self.config, self.spec, count, explore)
            self.actings[count, explore] = acting = make_acting(behavior, [self.seed], self.tree, self.verdict)
            self.verdict = acting.verdict
        return self.actings[count, explore]

    def __getstate__(self) -> dict[str, object]:
        """Leave out what is made anew, and of an algorithm that is a module all but its name."""
        algorithm: object = self.algorithm
        if isinstance(algorithm, ModuleType):
            algorithm, _ = algorithms.find(algorithm)
        return {**self.__dict__, "algorithm": algorithm, "actings": {}}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        if isinstance(self.algorithm, str):
            _, self.algorithm = algorithms.find(self.algorithm)


def save(folder: Path, facts: Mapping[str, object], trees: dict[str, Tree], spaces: Spaces) -> None:
    """Save the policies of all seeds (`trees["final"]`, `trees["best"]`, each with a leading lane axis)."""
    described: dict[str, Json] = {
        "observation_space": to_json(spaces.observation),
        "action_space": to_json(spaces.action),
    }
    with contextlib.suppress(ValueError):  # what cannot be described is read with JAX's help
        described["tree"] = structure.describe(trees["final"])
    arrays.save_set(folder, "policy.json", {**facts, **described}, trees)


@dataclass(frozen=True)
class PolicyRecord:
    """What policy.json says."""

    algorithm: Annotated[str, is_word]
    config: Annotated[dict[str, Json], is_table]
    seeds: Annotated[list[int], are_seeds]
    best_seed: Annotated[int, is_count]
    observation_space: Annotated[dict[str, Json], is_table]
    action_space: Annotated[dict[str, Json], is_table]
    files: Annotated[dict[str, Json], is_table]
    env: Json = None  # for whoever reads the file, like env_kwargs
    env_kwargs: Json = None
    acts_in_numpy: Json = None  # this and the tree help to load it fast; where they are damaged, it loads slowly
    tree: Json = None


LARGEST_STEP = 2**24  # bytes


class Saved:
    """The policy folder of a run: every seed's final and best policy."""

    def __init__(self, folder: Path, trust: bool = False):
        """Read a policy folder; `trust` lets it name a module to import, which is to run the module's code.

        Raises UsageError if it is missing, damaged or changed, or names what is not trusted.
        """
        self.folder = folder
        path = folder / "policy.json"
        self.record = record = self._read()
        self.seeds = record.seeds
        _, self.algorithm = algorithms.find(record.algorithm, None if trust else path)
        self.config = files.settings_from_json(self.algorithm.Config, record.config, path)
        try:
            self.spaces = Spaces(from_json(record.observation_space), from_json(record.action_space))
        except (ArithmeticError, ValueError, KeyError, TypeError, AttributeError, AssertionError) as error:
            raise UsageError(f"{path}: a space is damaged ({shortened(str(error))})") from error
        self.spec = spec_of(*self.spaces)
        if self.spec.transition_bytes > LARGEST_STEP:  # before anything of that size is made
            raise UsageError(f"{path}: a space is damaged: a step would take more than {LARGEST_STEP:,} bytes")
        self.verdict = Verdict(True) if record.acts_in_numpy is True else None  # None: to be tried

    def _read(self) -> PolicyRecord:
        return files.read_record(PolicyRecord, self.folder / "policy.json")

    def tree(self, which: str) -> Tree:
        """Load the policies of all seeds, `which` being "best" or "final"."""
        while True:
            if which not in self.record.files:
                raise UsageError(f"there is no {which!r} policy in {self.folder}: choose best or final")
            try:
                return self._tree(which)
            except UsageError:
                record = self._read()
                if record.files == self.record.files:
                    raise
                self.record = record  # the run is being trained, and has saved newer policies in the meantime

    def _tree(self, which: str) -> Tree:
        tree = self._tree_in_numpy(which)
        if tree is None:
            template = policy_template(self.algorithm, self.config, self.spec, len(self.seeds))
            return arrays.load_arrays(self.folder, self.record.files[which], template)
        return tree

    def _tree_in_numpy(self, which: str) -> Tree:
        """Load the policies as they are described, without JAX; None where they do not act in NumPy."""
        if self.verdict is None or self.record.tree is None:
            return None
        try:
            template = structure.rebuild(self.record.tree, ("polyak", self.record.algorithm.partition(".")[0]))
        except (ValueError, RecursionError):
            return None
        tree = arrays.load_arrays(self.folder, self.record.files[which], template)
        if self._acts(tree):
            return tree
        self.verdict = None
        return None

    def _acts(self, tree: Tree) -> bool:
        """Say whether policies that were read choose actions, which a description that was changed may prevent."""
        behavior = Behavior(self.algorithm, self.config, self.spec, num_envs=1, explore=True)
        try:
            acting = make_acting(behavior, self.seeds, tree, self.verdict)
            action = acting(self.spec.zeros(len(self.seeds), 1))
        except Exception:
            return False
        return action.shape == (len(self.seeds), 1, *self.spec.action.array.shape)

    def policy(self, which: str = "best", seed: int | None = None) -> Policy:
        """Load one seed's policy; by default that of the seed which its periodic evaluations put first."""
        trees = self.tree(which)
        seed = self.record.best_seed if seed is None else seed
        if seed not in self.seeds:
            raise UsageError(f"the run has no seed {seed}: its seeds are {', '.join(map(str, self.seeds))}")
        tree = take(trees, self.seeds.index(seed))
        return Policy(self.algorithm, self.config, tree, self.spaces, seed, self.verdict)


def policy_template(algorithm: Algorithm, config: Tree, spec: EnvSpec, lanes: int) -> Tree:
    """Describe the shapes of the policies of some lanes without making any."""

    def make(key: jax.Array) -> Tree:
        return algorithm.init(config, spec, key).policy

    devices.prepare()
    with in_32_bits():
        keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), lanes))
        return jax.eval_shape(jax.vmap(make), keys)
