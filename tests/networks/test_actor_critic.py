"""The settings of actor-critics, and the critics made from them."""

import jax
import numpy as np
import pytest

from polyak.errors import UsageError
from polyak.networks.actor_critic import ActorCriticSettings, create_critics
from polyak.networks.critics import Critic
from polyak.networks.layers import Style
from polyak.networks.simba import Simba
from polyak.numerics.normalize import Identity, RunningStats
from polyak.types import Box, EnvSpec, vector
from tests.fixtures.compare import assert_identical, differs

SPEC, KEY = EnvSpec(vector(3), Box(2)), jax.random.key(0)
SETTINGS = ActorCriticSettings(critic_state_layers=(7,), critic_action_layers=(5,), critic_joint_layers=(6, 4))


@pytest.mark.parametrize("sizes", [(), (16, 8)])
@pytest.mark.parametrize("name", ["actor_layers", "critic_joint_layers"])
def test_simba_takes_blocks_of_one_width(name: str, sizes: tuple[int, ...]) -> None:
    ActorCriticSettings(**{name: sizes})
    ActorCriticSettings(architecture="simba", actor_layers=(8, 8), critic_joint_layers=(16,))
    with pytest.raises(UsageError, match=rf"{name} = .*: the blocks of SimBa have one width"):
        ActorCriticSettings(architecture="simba", **{name: sizes})


def test_critics_have_the_layers_asked_for_and_weights_of_their_own() -> None:
    one, other = create_critics(KEY, SPEC, SETTINGS, 2)
    assert [layer.bias.size for net in (one.state, one.action, one.joint) for layer in net.layers] == [7, 5, 6, 4, 1]
    assert all(differs(a, b) for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True))


def test_a_single_critic_is_what_it_would_be_alone() -> None:
    (critic,) = create_critics(KEY, SPEC, SETTINGS, 1, final_init=1e-3)
    assert_identical(critic, Critic.create(KEY, SPEC, ((7,), (5,), (6, 4)), 1e-3, Style()))
    assert np.abs(critic.joint.layers[-1].weight).max() <= 1e-3


def test_simba_reads_normalized_observations() -> None:
    settings = ActorCriticSettings(architecture="simba")
    assert isinstance(create_critics(KEY, SPEC, settings, 1)[0].joint, Simba)
    assert isinstance(settings.normalizer(SPEC.obs), RunningStats)
    assert isinstance(SETTINGS.normalizer(SPEC.obs), Identity)
