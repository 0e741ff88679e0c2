"""Exploration noise against the numbers it must have, drawn in NumPy and in JAX alike."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np
import pytest

from polyak.algorithms import td3
from polyak.numerics.draws import LaneGenerators
from polyak.numerics.noise import Correlated, Gaussian, OrnsteinUhlenbeck, of

MANY = (1, 4000, 2)  # [lane, env, action]: many processes side by side


def numpy_path(noise: Any, steps: int) -> np.ndarray:
    generators = LaneGenerators([0], [0])
    memory, path = start(noise), []
    for _ in range(steps):
        x, memory = noise.next(memory, generators, MANY)
        path.append(x)
    return np.stack(path)


def jax_path(noise: Any, steps: int) -> np.ndarray:
    return np.asarray(scanned(noise, steps))


@partial(jax.jit, static_argnums=1)
def scanned(noise: Any, steps: int) -> jax.Array:
    def step(memory: Any, key: Any) -> Any:
        x, memory = noise.next(memory, key, MANY)
        return memory, x

    return jax.lax.scan(step, start(noise), jax.random.split(jax.random.key(0), steps))[1]


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


@BOTH
@pytest.mark.parametrize("rho", [0.0, 0.5, 0.95])
def test_correlated_noise_is_standard_normal_at_every_step_and_remembers_by_rho(path: Path, rho: float) -> None:
    x = path(Correlated(rho), 12)
    np.testing.assert_allclose(x.std((1, 2, 3)), 1, rtol=0.03)  # 8000 numbers: 4 deviations
    np.testing.assert_allclose(x.mean((1, 2, 3)), 0, atol=0.045)
    for lag in (1, 2, 5):
        np.testing.assert_allclose(correlation(x[0], x[lag]), rho**lag, atol=0.045)
        np.testing.assert_allclose(correlation(x[6], x[6 + lag]), rho**lag, atol=0.045)
    assert abs(correlation(x[-1, ..., 0], x[-1, ..., 1])) < 0.06


def test_correlated_noise_starts_anew_where_its_memory_does() -> None:
    noise, generators = Correlated(0.9), LaneGenerators([0], [0])
    last, (last_kept, begun) = noise.next(start(noise), generators, MANY)
    np.testing.assert_array_equal(last, last_kept)
    memory = last_kept.copy(), begun.copy()
    for part, fresh in zip(memory, noise.start(MANY[2]), strict=True):
        part[0, :2000] = fresh  # half of the environments begin an episode
    x, _ = noise.next(memory, generators, MANY)
    assert abs(correlation(last[0, :2000], x[0, :2000])) < 0.06
    np.testing.assert_allclose(correlation(last[0, 2000:], x[0, 2000:]), 0.9, atol=0.02)
    np.testing.assert_allclose(x[0, :2000].std(), 1, rtol=0.05)


def test_correlated_noise_by_hand() -> None:
    class Twos(LaneGenerators):
        def normal(self, shape: tuple[int, ...]) -> np.ndarray:
            return np.full(shape, 2, np.float32)

    noise, shape = Correlated(0.6), (1, 1, 1)
    memory = jax.tree.map(lambda leaf: leaf.reshape(shape), noise.start(1))
    first, memory = noise.next(memory, Twos([0], [0]), shape)
    second, _ = noise.next(memory, Twos([0], [0]), shape)
    np.testing.assert_allclose([first.item(), second.item()], [2, 0.6 * 2 + 0.8 * 2], rtol=1e-6)  # 0.6² + 0.8² = 1


def test_the_noise_asked_for_is_made() -> None:
    assert of(td3.Config(noise="gaussian", noise_sigma=0.3)) == Gaussian(0.3)
    config = td3.Config(noise="ornstein-uhlenbeck", noise_sigma=0.2, noise_theta=0.15, noise_dt=0.5)
    assert of(config) == OrnsteinUhlenbeck(theta=0.15, sigma=0.2, dt=0.5)


def test_memory_at_the_start() -> None:
    assert Gaussian(0.1).start(3) == ()
    np.testing.assert_array_equal(OrnsteinUhlenbeck(0.15, 0.2, 1.0).start(3), [0, 0, 0])


def test_the_dimensions_of_an_action_are_not_correlated() -> None:
    x = numpy_path(OrnsteinUhlenbeck(0.15, 0.2, 1.0), 30)[-1]
    assert abs(correlation(x[..., 0], x[..., 1])) < 0.05


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one.reshape(-1), other.reshape(-1))[0, 1])
