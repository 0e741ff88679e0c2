"""One gradient step, worked out by hand."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from polyak.numerics import optimize
from polyak.numerics.optimize import Decay
from polyak.tree import pytree


@pytree
class Line:
    weight: Any  # [1, 1]
    bias: Any  # [1]


LINE = Line(jnp.array([[2.0]]), jnp.array([1.0]))


def descend(optimizer: Any, gradient: Line, line: Line = LINE, opt_state: Any = None) -> tuple[Line, Any]:
    """Step down a loss with a given gradient."""

    def loss(line: Line) -> Any:
        products = jax.tree.map(lambda a, g: (a * g).sum(), line, gradient)
        return products.weight + products.bias, ()

    return optimize.descend(optimizer, loss, line, optimizer.init(line) if opt_state is None else opt_state)[:2]


def gradient(weight: float, bias: float) -> Line:
    return Line(jnp.array([[weight]]), jnp.array([bias]))


def test_the_first_step_of_adam_is_the_learning_rate_whatever_the_gradient() -> None:
    line, _ = descend(optimize.adam(0.1), gradient(5.0, -0.01))
    # m/(1 - β₁) = g and √(v/(1 - β₂)) = |g|, so the step is 0.1·sign(g)
    np.testing.assert_allclose([line.weight[0, 0], line.bias[0]], [2.0 - 0.1, 1.0 + 0.1], rtol=1e-5)


def test_the_second_step_of_adam() -> None:
    line, opt_state = descend(optimize.adam(0.1), gradient(1.0, 0.0))
    line, _ = descend(optimize.adam(0.1), gradient(3.0, 0.0), line, opt_state)
    # m = 0.9·0.1·1 + 0.1·3 = 0.39, over 1 - 0.9² = 0.19: 2.05263
    # v = 0.999·0.001·1 + 0.001·9 = 0.009999, over 1 - 0.999² = 0.001999: 5.00200, its root 2.23652
    # 1.9 - 0.1·2.05263/2.23652 = 1.80822
    np.testing.assert_allclose(line.weight[0, 0], 1.80822, rtol=1e-5)
    np.testing.assert_allclose(line.bias[0], 1.0)


def test_the_gradient_is_clipped_by_the_norm_of_the_whole_net() -> None:
    opt_state = opt_state_after(optimize.adam(0.1, gradient_norm=1.0), gradient(3.0, 4.0))
    # norm 5 → 1: the gradient becomes (0.6, 0.8), its first moment a tenth of that
    np.testing.assert_allclose(opt_state, [0.06, 0.08], rtol=1e-5)


def test_a_gradient_within_the_norm_is_left_alone() -> None:
    opt_state = opt_state_after(optimize.adam(0.1, gradient_norm=10.0), gradient(3.0, 4.0))
    np.testing.assert_allclose(opt_state, [0.3, 0.4], rtol=1e-5)


def test_weight_decay_is_added_to_the_gradient_of_matrices_and_spares_vectors() -> None:
    opt_state = opt_state_after(optimize.adam(0.1, decay=Decay(coupled=0.5)), gradient(3.0, 4.0))
    # 3 + 0.5·2 = 4 for the weight; the bias keeps its 4
    np.testing.assert_allclose(opt_state, [0.4, 0.4], rtol=1e-5)


def test_decay_is_added_after_clipping() -> None:
    opt_state = opt_state_after(optimize.adam(0.1, gradient_norm=1.0, decay=Decay(coupled=0.5)), gradient(3.0, 4.0))
    # 0.6 + 0.5·2 = 1.6
    np.testing.assert_allclose(opt_state, [0.16, 0.08], rtol=1e-5)


def test_decoupled_decay_is_taken_off_the_weights_and_not_off_the_gradient() -> None:
    line, opt_state = descend(optimize.adam(0.1, decay=Decay(decoupled=0.5)), gradient(3.0, 4.0))
    # Adam's first step is 0.1; decay takes 0.1·0.5·2 more off the weight and spares the bias
    np.testing.assert_allclose([line.weight[0, 0], line.bias[0]], [2.0 - 0.1 - 0.1, 1.0 - 0.1], rtol=1e-5)
    first = optax.tree_utils.tree_get(opt_state, "mu")
    np.testing.assert_allclose(flat(first), [0.3, 0.4], rtol=1e-5)


def test_both_kinds_of_decay_follow_the_same_choice_of_leaves() -> None:
    def biases(line: Line) -> Line:
        return Line(False, True)

    for kind in ({"coupled": 5.0}, {"decoupled": 5.0}):
        line, _ = descend(optimize.adam(0.1, decay=Decay(leaves=biases, **kind)), gradient(0.0, 0.0))
        assert line.weight[0, 0] == 2.0
        assert line.bias[0] < 1.0


def test_another_memory_of_the_first_moment() -> None:
    line, opt_state = descend(optimize.adam(0.1, b1=0.5), gradient(1.0, 0.0))
    line, _ = descend(optimize.adam(0.1, b1=0.5), gradient(3.0, 0.0), line, opt_state)
    # m = 0.5·0.5·1 + 0.5·3 = 1.75, over 1 - 0.5² = 0.75: 2.33333;  √v as in the second step above
    # 1.9 - 0.1·2.33333/2.23652 = 1.79567
    np.testing.assert_allclose(line.weight[0, 0], 1.79567, rtol=1e-5)


def test_epsilon_tames_small_gradients() -> None:
    line, _ = descend(optimize.adam(0.1, epsilon=1e-2), gradient(1e-2, 0.0))
    # 0.01/(0.01 + 0.01) of the step
    np.testing.assert_allclose(line.weight[0, 0], 2.0 - 0.05, rtol=1e-5)


def test_rmsprop() -> None:
    line, opt_state = descend(optimize.rmsprop(0.1), gradient(3.0, 0.0))
    # v = 0.01·3² = 0.09: 2 - 0.1·3/(0.3 + 10⁻⁵) = 1.00003
    np.testing.assert_allclose(line.weight[0, 0], 2 - 0.1 * 3 / 0.30001, rtol=1e-5)
    line, _ = descend(optimize.rmsprop(0.1), gradient(1.0, 0.0), line, opt_state)
    # v = 0.99·0.09 + 0.01 = 0.0991, its root 0.314802
    np.testing.assert_allclose(line.weight[0, 0], 2 - 0.1 * 3 / 0.30001 - 0.1 / 0.314812, rtol=1e-4)


def test_the_epsilon_of_rmsprop_stands_outside_of_the_root() -> None:
    line, _ = descend(optimize.rmsprop(0.1, epsilon=0.5), gradient(3.0, 0.0))
    np.testing.assert_allclose(line.weight[0, 0], 2 - 0.1 * 3 / (0.3 + 0.5), rtol=1e-5)


def test_rmsprop_clips_the_gradient_first() -> None:
    _, opt_state = descend(optimize.rmsprop(0.1, gradient_norm=1.0), gradient(3.0, 4.0))
    squares = optax.tree_utils.tree_get(opt_state, "nu")
    np.testing.assert_allclose(flat(squares), [0.01 * 0.36, 0.01 * 0.64], rtol=1e-5)


def test_packing_changes_no_bit_of_an_elementwise_step() -> None:
    large = optimize.SMALL + 1
    net = {"a": jnp.ones((2, 3)), "b": jnp.linspace(-1, 1, large), "c": jnp.float32(2), "d": jnp.arange(4.0)}
    gradient = jax.tree.map(lambda leaf: jnp.cos(3 * leaf), net)
    plain = optax.scale_by_adam()
    steps, opt_state = {}, {}
    for name, optimizer in (("plain", plain), ("packed", optimize.packed(plain))):
        state = optimizer.init(net)
        for _ in range(2):
            steps[name], state = optimizer.update(gradient, state, net)
        opt_state[name] = optax.tree_utils.tree_get(state, "mu")
    jax.tree.map(np.testing.assert_array_equal, steps["packed"], steps["plain"])
    assert [leaf.shape for leaf in opt_state["packed"]] == [(11,), (large,)]  # all small leaves are one


def test_a_net_of_large_leaves_alone_is_packed_too() -> None:
    net = [jnp.ones(optimize.SMALL + 1)]
    optimizer = optimize.packed(optax.scale(2.0))
    steps, _ = optimizer.update(net, optimizer.init(net), net)
    np.testing.assert_array_equal(steps[0], 2 * net[0])


def test_what_the_loss_gives_back_besides_is_handed_through() -> None:
    optimizer = optimize.adam(0.1)
    *_, aux = optimize.descend(
        optimizer, lambda x: (x**2, ("statistics", {"x": x})), jnp.float32(3), optimizer.init(LINE.bias[0])
    )
    assert aux == ("statistics", {"x": 3.0})


def test_the_numbers_may_be_traced() -> None:
    @jax.jit
    def step(rate: Any, norm: Any, decay: Any) -> Any:
        return descend(optimize.adam(rate, norm, Decay(decay)), gradient(3.0, 4.0))[0]

    expected, _ = descend(optimize.adam(0.1, 1.0, Decay(0.5)), gradient(3.0, 4.0))
    np.testing.assert_allclose(step(0.1, 1.0, 0.5).weight, expected.weight, rtol=1e-6)


def opt_state_after(optimizer: Any, slope: Line) -> np.ndarray:
    """Return Adam's first moment of weight and bias after one step from zero: 0.1 of the gradient that it saw."""
    return flat(optax.tree_utils.tree_get(descend(optimizer, slope)[1], "mu"))


def flat(opt_state: Any) -> np.ndarray:
    """Return the numbers of a net, whether its leaves are packed or not."""
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(opt_state)])
