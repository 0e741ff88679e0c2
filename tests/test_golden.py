"""Twenty updates on a fixed batch, against the numbers that they once gave: what notices a change nobody meant.

Where a change is meant, `POLYAK_REGOLD=1 pytest tests/test_golden.py` writes the files anew; look at the difference.
"""

import json
import os
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from polyak.tree import named_leaves
from polyak.types import init_memory
from tests.fixtures.agents import Agent, every_agent, label

FOLDER = Path(__file__).parent / "golden"
UPDATES = 20


@pytest.mark.parametrize("agent", every_agent(), ids=label)
@pytest.mark.thorough
def test_learns_as_it_did(agent: Agent) -> None:
    file, found = FOLDER / f"{label(agent)}.json", summary(agent)
    if os.environ.get("POLYAK_REGOLD"):
        file.write_text(json.dumps(found, indent=1) + "\n")
    golden = json.loads(file.read_text())
    assert found.keys() == golden.keys()
    for name, numbers in golden.items():
        np.testing.assert_allclose(found[name], numbers, rtol=1e-4, atol=1e-6, err_msg=name)


def summary(agent: Agent) -> dict[str, Any]:
    """Return the metrics of every update, greedy actions afterwards, and the mean size of each leaf but Adam's."""
    state, metrics = agent.init(), []
    for step in range(UPDATES):
        state, of_update = agent.update(state, agent.data(), seed=step, step=step)
        metrics.append(of_update)
    obs = np.linspace(-1, 1, 4 * agent.spec.obs.shape[0], dtype=np.float32).reshape(4, -1)
    memory = jax.tree.map(lambda leaf: np.tile(leaf, (4, 1)), init_memory(agent.algorithm, agent.config, agent.spec))
    action, _ = agent.algorithm.act(agent.config, state.policy, memory, obs, jax.random.key(0), False)
    return {
        **{f"metric {name}": [rounded(np.mean(of_update[name])) for of_update in metrics] for name in metrics[0]},
        "action": [rounded(number) for number in np.ravel(action)],
        **{
            f"mean size of {name}": rounded(np.abs(leaf).mean())
            for name, leaf in named_leaves(state).items()
            if "opt_state" not in name
        },
    }


def rounded(number: Any) -> float:
    """Round to seven digits, which is what float32 holds."""
    return float(f"{float(number):.7g}")
