"""One point of a scaling curve in this process; scaling.py runs it in fresh ones. It prints one JSON object.

python benchmarks/scaling_point.py update --layers 256 256 --batch 256 --capacity 100000     updates alone
python benchmarks/scaling_point.py seeds --count 4        the host loop, DDPG on Pendulum-v1
python benchmarks/scaling_point.py envs --count 64        the device loop, A2C on CartPole-v1
"""

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

UPDATES = 32  # in one call
STEPS = 5  # of a rollout


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("update", "seeds", "envs"))
    parser.add_argument("--layers", type=int, nargs="+", default=[128, 64])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--capacity", type=int, default=100_000)
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=5.0)
    asked = parser.parse_args()
    from polyak.training import devices

    devices.prepare(asked.count if asked.what == "seeds" else 1)
    print(json.dumps({**vars(asked), **MEASURES[asked.what](asked)}))


def update(asked: Any) -> dict[str, float]:
    """Time DDPG's updates on Pendulum's sizes, drawn from a replay buffer that is full."""
    from functools import partial

    import jax
    import numpy as np

    from polyak import tree
    from polyak.algorithms import ddpg
    from polyak.training.learn import Rollout, Task, UpdateSchedule, learn, start
    from polyak.training.plans import ReplayPlan
    from polyak.types import Box, EnvSpec, vector

    layers, spec = tuple(asked.layers), EnvSpec(vector(3), Box(1))
    config = ddpg.Config(actor_layers=layers, critic_joint_layers=layers)
    plan = ReplayPlan(
        env_steps=asked.capacity, batch=asked.batch, capacity=asked.capacity, rollout_length=UPDATES, warmup=0
    )
    task = Task(ddpg, plan, spec)
    learner = jax.jit(partial(start, task))(config, jax.random.key(0))
    full = tree.replace(learner.buffer, added=np.asarray(asked.capacity, np.int32))
    learner = tree.replace(learner, buffer=full)
    program = jax.jit(partial(learn, task), donate_argnums=(1,))
    rng = np.random.default_rng(0)
    shapes = spec.transition()
    steps = jax.tree.map(lambda array: rng.standard_normal((UPDATES, 1, *array.shape), np.float32), shapes)
    rollout = Rollout(steps, np.asarray(UPDATES, np.int32), np.asarray(True), np.zeros((), np.float32))
    state = [learner]

    def call(i: int) -> None:
        schedule = UpdateSchedule(np.asarray(i * UPDATES, np.int32), np.asarray(UPDATES, np.int32))
        state[0], _ = jax.block_until_ready(program(config, state[0], rollout, jax.random.key(1), schedule))

    seconds = typical(call, asked.seconds) / UPDATES
    return {"seconds_per_update": seconds, "flops": operations(layers, asked.batch), "flops_per_second": matrix_rate()}


def operations(layers: tuple[int, ...], batch: int) -> float:
    """Count the floating-point operations of the products in one DDPG update with these layers.

    Forwards: target actor, target critic, critic, actor, critic on its actions. Backwards: two products for each
    weight of critic and actor, one (to the input) for each of the critic's on the actor's way. A first layer's input
    needs no gradient but the critic's for the action.
    """

    def forward(first: int) -> int:
        return sum(a * b for a, b in zip((first, *layers), (*layers, 1), strict=True))

    actor, critic = forward(3), forward(4)
    backward = 2 * critic - 4 * layers[0] + 2 * actor - 3 * layers[0] + critic - 3 * layers[0]
    return 2.0 * batch * (2 * actor + 3 * critic + backward)


def matrix_rate() -> float:
    """Measure the machine's floating-point operations per second in a product of 1024-1024 matrices."""
    import jax
    import jax.numpy as jnp

    size, times = 1024, 5
    matrix = jnp.ones((size, size)) / size
    program = jax.jit(lambda x: jax.lax.fori_loop(0, times, lambda _, x: x @ matrix, x))
    seconds = typical(lambda _: program(matrix).block_until_ready(), 2.0)
    return 2.0 * size**3 * times / seconds


def typical(call: Callable[[int], Any], seconds: float) -> float:
    """Return the median time of a call, after the first three."""
    times, began = list[float](), time.perf_counter()
    while len(times) < 8 or time.perf_counter() - began < seconds:
        start = time.perf_counter()
        call(len(times))
        times.append(time.perf_counter() - start)
    return sorted(times[3:])[len(times[3:]) // 2]


def seeds(asked: Any) -> dict[str, float]:
    """Time the host loop with several seeds: environment steps of all of them."""
    from polyak.algorithms import ddpg
    from polyak.envs.gymnasium import VectorEnv
    from polyak.training.host import HostLoop
    from polyak.training.job import Job
    from polyak.training.plans import ReplayPlan

    layers, lanes = tuple(asked.layers), list(range(asked.count))
    config = ddpg.Config(actor_layers=layers, critic_joint_layers=layers)
    plan = ReplayPlan(10**8, batch=asked.batch, capacity=asked.capacity, warmup=500)
    return rate(HostLoop(Job(ddpg, config, plan, VectorEnv("Pendulum-v1", lanes, 1), lanes)), asked.seconds)


def envs(asked: Any) -> dict[str, float]:
    """Time the device loop with several environments for one seed."""
    from polyak.algorithms import a2c
    from polyak.envs.functional import find
    from polyak.training.device import DeviceLoop

    per_rollout = STEPS * asked.count
    plan = RolloutPlan(10**9 - 10**9 % per_rollout, envs=asked.count, rollout_length=STEPS)
    return rate(DeviceLoop(Job(a2c, a2c.Config(), plan, find("CartPole-v1"), [0])), asked.seconds)


def rate(loop: Any, seconds: float) -> dict[str, float]:
    """Train for some seconds after a fifth as many of warm-up; return the environment steps per second."""
    marks = []
    for share in (0.2, 1.0):
        began = time.perf_counter()
        while time.perf_counter() - began < share * seconds or loop.shared_updates == 0:
            loop.advance()
        marks.append((time.perf_counter(), int(loop.counts.env_steps.sum())))
    (then, before), (now, after) = marks
    return {"env_steps_per_second": (after - before) / (now - then)}


MEASURES: dict[str, Callable[[Any], dict[str, float]]] = {"update": update, "seeds": seeds, "envs": envs}


if __name__ == "__main__":
    main()
