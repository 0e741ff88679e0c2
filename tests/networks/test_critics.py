"""Critics of discrete actions, several critics, and where norms stand in a critic of continuous ones."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from polyak.networks.batch_norm import BatchStyle, fresh_statistics
from polyak.networks.critics import ActionValues, Critic, ensemble_keys, ensemble_min
from polyak.networks.layers import MLP, Style
from polyak.networks.simba import Simba
from polyak.types import Box, Discrete, EnvSpec, vector
from tests.fixtures.compare import assert_close, differs, stack

KEY = jax.random.key(0)
CHOICE, BOX = EnvSpec(vector(3), Discrete(4)), EnvSpec(vector(3), Box(2))
OBS = np.random.default_rng(0).normal(size=(4, 5, 3)).astype(np.float32)  # [lane, batch, obs]
ACTIONS = np.random.default_rng(1).uniform(-1, 1, (5, 2)).astype(np.float32)


CALL = jax.jit(lambda net, *inputs: net(*inputs))


def dueling() -> ActionValues:
    return in_numpy(ActionValues.create(KEY, CHOICE, (8, 6), dueling=True))


def in_numpy(net: Any) -> Any:
    return jax.tree.map(np.asarray, net)


def test_dueling_advantages_have_mean_0() -> None:
    net = dueling()
    values, features = net(OBS[0]), net.trunk(OBS[0])
    # the mean of Q is V, and what is left are the advantages, less their mean
    np.testing.assert_allclose(values.mean(-1), net.value(features)[:, 0], rtol=1e-5, atol=1e-6)
    advantage = net.advantage(features)
    expected = advantage - advantage.mean(-1, keepdims=True)
    np.testing.assert_allclose(values - values.mean(-1, keepdims=True), expected, rtol=1e-4, atol=1e-6)
    assert np.abs(advantage.mean(-1)).max() > 1e-3  # which is not 0 by itself


def test_the_streams_of_a_dueling_network_have_a_hidden_layer_of_the_trunks_last_width() -> None:
    net = dueling()
    assert net.value is not None
    assert net.advantage is not None
    assert [layer.weight.shape for layer in net.trunk.layers] == [(3, 8), (8, 6)]
    assert [layer.weight.shape for layer in net.value.layers] == [(6, 6), (6, 1)]
    assert [layer.weight.shape for layer in net.advantage.layers] == [(6, 6), (6, 4)]
    assert (net.trunk(OBS[0]) >= 0).all()  # the trunk ends with its activation
    assert differs(net.value.layers[0], net.advantage.layers[0])


def test_without_layers_the_streams_see_the_observation() -> None:
    assert in_numpy(ActionValues.create(KEY, CHOICE, (), dueling=True))(OBS[0]).shape == (5, 4)


def test_norms_cover_the_hidden_layers_of_the_streams_too() -> None:
    net = ActionValues.create(KEY, CHOICE, (8, 6), dueling=True, style=Style(norm="layer"))
    assert net.value is not None
    assert net.advantage is not None
    hidden = [[norm.scale.shape for norm in part.norms if norm] for part in (net.trunk, net.value, net.advantage)]
    assert hidden == [[(8,), (6,)], [(6,)], [(6,)]]


def test_without_dueling_the_network_is_all() -> None:
    net = in_numpy(ActionValues.create(KEY, CHOICE, (8,), style=Style(norm="layer")))
    assert net.value is net.advantage is None
    assert isinstance(net.trunk, MLP)
    assert len(net.trunk.norms) == 2
    np.testing.assert_array_equal(net(OBS[0]), net.trunk(OBS[0]))
    assert isinstance(ActionValues.create(KEY, CHOICE, (8, 8), style=Style("simba")).trunk, Simba)


@pytest.mark.parametrize("duels", [False, True], ids=["plain", "dueling"])
def test_action_values_in_numpy_equal_jax_and_lanes_equal_each_alone(duels: bool) -> None:
    style = Style(norm="layer")
    nets = [ActionValues.create(jax.random.key(seed), CHOICE, (8,), duels, style) for seed in range(4)]
    together = stack(nets)(OBS)
    assert isinstance(together, np.ndarray)
    for lane, net in enumerate(nets):
        assert_close(together[lane], CALL(net, OBS[lane]))


def test_the_least_of_several() -> None:
    values = [jnp.array([1.0, 5.0]), jnp.array([2.0, -4.0]), jnp.array([3.0, 0.0])]
    np.testing.assert_array_equal(ensemble_min(values), [1, -4])
    np.testing.assert_array_equal(ensemble_min(values[:1]), values[0])


def test_several_critics_differ_and_a_single_one_is_what_it_would_be_alone() -> None:
    assert ensemble_keys(KEY, 1) == [KEY]
    keys = ensemble_keys(KEY, 3)
    assert len(keys) == len({tuple(jax.random.key_data(key).tolist()) for key in (*keys, KEY)}) - 1 == 3


def test_norms_after_the_activation_cover_all_joint_layers_and_nothing_else() -> None:
    style = Style(norm=BatchStyle(), norm_after=True)
    net = Critic.create(KEY, BOX, ((), (), (8, 8)), style=style, normalize_joint=True)
    assert net.state.norms == net.action.norms == ()
    assert [norm.scale.shape for norm in net.joint.norms] == [(5,), (8,), (8,)]
    values, statistics = in_numpy(net).train(OBS[0], ACTIONS, in_numpy(fresh_statistics(net)))
    assert values.shape == (5,)
    assert statistics.keys() == {"joint.0", "joint.1", "joint.2"}
    assert all(differs(old.mean, statistics[name].mean) for name, old in fresh_statistics(net).items())


def test_a_simba_critic_sees_state_and_action_together() -> None:
    net = in_numpy(Critic.create(KEY, BOX, ((), (), (8, 8)), style=Style("simba")))
    assert isinstance(net.joint, Simba)
    assert net.joint.embedding.weight.shape == (5, 8)
    assert fresh_statistics(net) == {}
    assert net(OBS[0], ACTIONS).shape == (5,)
    assert differs(net(OBS[0], ACTIONS), net(OBS[0], -ACTIONS))


def test_the_statistics_of_a_network_are_named_by_part_and_layer() -> None:
    net = Critic.create(KEY, BOX, ((8,), (), (8,)), style=Style(norm=BatchStyle()))
    statistics = fresh_statistics((net, ()))
    assert {name: len(of.mean) for name, of in statistics.items()} == {"state.0": 3, "state.1": 8}
    assert fresh_statistics(Critic.create(KEY, BOX, ((8,), (), (8,)), style=Style(norm="layer"))) == {}
