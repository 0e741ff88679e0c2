"""Exploration noise against the numbers it must have, drawn in NumPy and in JAX alike."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest

from polyak.draws import LaneGenerators
from polyak.noise import Gaussian, OrnsteinUhlenbeck

MANY = (1, 4000, 2)  # [lane, env, action]: many processes side by side


def numpy_path(noise: Any, steps: int) -> np.ndarray:
    generators = LaneGenerators([0], [0])
    memory, path = start(noise), []
    for _ in range(steps):
        x, memory = noise.next(memory, generators, MANY)
        path.append(x)
    return np.stack(path)


def jax_path(noise: Any, steps: int) -> np.ndarray:
    def step(memory: Any, key: Any) -> Any:
        x, memory = noise.next(memory, key, MANY)
        return memory, x

    _, path = jax.jit(lambda keys: jax.lax.scan(step, start(noise), keys))(jax.random.split(jax.random.key(0), steps))
    return np.asarray(path)


def start(noise: Any) -> Any:
    return jax.tree.map(lambda leaf: np.tile(leaf, (*MANY[:2], 1)), noise.start(MANY[2]))


Path = Callable[[Any, int], np.ndarray]
BOTH = pytest.mark.parametrize("path", [numpy_path, jax_path], ids=["numpy", "jax"])


@BOTH
def test_gaussian(path: Path) -> None:
    x = path(Gaussian(0.3), 20)
    np.testing.assert_allclose(x.std(), 0.3, rtol=0.02)
    np.testing.assert_allclose(x.mean(), 0, atol=0.005)
    assert abs(correlation(x[0], x[1])) < 0.05


@BOTH
def test_ornstein_uhlenbeck_with_whole_steps(path: Path) -> None:
    x = path(OrnsteinUhlenbeck(0.15, 0.2, 1.0), 60)
    np.testing.assert_allclose(x[0].std(), 0.2, rtol=0.03)
    # 0.2/√(1 - 0.85²) = 0.380 once it has forgotten its start
    np.testing.assert_allclose(x[40:].std(), 0.380, rtol=0.03)
    np.testing.assert_allclose(x[40:].mean(), 0, atol=0.02)
    np.testing.assert_allclose(correlation(x[40], x[41]), 0.85, atol=0.02)
    np.testing.assert_allclose(correlation(x[40], x[46]), 0.85**6, atol=0.04)


@BOTH
def test_ornstein_uhlenbeck_with_small_steps_starts_almost_silent(path: Path) -> None:
    x = path(OrnsteinUhlenbeck(0.15, 0.2, 0.01), 100)
    # 0.2·√0.01·√t = 0.02·√t in the first steps
    for t in (1, 4, 25):
        np.testing.assert_allclose(x[t - 1].std(), 0.02 * t**0.5, rtol=0.05)
    # by t = 100 the pull has begun: 0.02·√((1 - 0.9985²⁰⁰)/(1 - 0.9985²)) = 0.186
    np.testing.assert_allclose(x[99].std(), 0.186, rtol=0.05)


@BOTH
def test_without_noise_ornstein_uhlenbeck_only_decays(path: Path) -> None:
    noise = OrnsteinUhlenbeck(0.5, 0.0, 0.5)
    key = LaneGenerators([0], [0]) if path is numpy_path else jax.random.key(0)
    x, memory = noise.next(np.full((1, 1, 1), 8.0, np.float32), key, (1, 1, 1))
    assert x == memory == 6.0  # 8 - 0.5·8·0.5


def test_memory_at_the_start() -> None:
    assert Gaussian(0.1).start(3) == ()
    np.testing.assert_array_equal(OrnsteinUhlenbeck(0.15, 0.2, 1.0).start(3), [0, 0, 0])


def test_the_dimensions_of_an_action_are_not_correlated() -> None:
    x = numpy_path(OrnsteinUhlenbeck(0.15, 0.2, 1.0), 30)[-1]
    assert abs(correlation(x[..., 0], x[..., 1])) < 0.05


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one.reshape(-1), other.reshape(-1))[0, 1])
