"""Prioritized replay as pure functions: a tree of sums from which places are drawn in proportion to their priority.

Schaul, Quan, Antonoglou, Silver 2016, "Prioritized experience replay", arXiv 1511.05952, the proportional variant:

    p = (|δ| + ε)^α        P(i) = p(i) / Σ p        w(i) = (N·P(i))^-β / max w

The tree has a fan-out of 64 instead of 2: a draw reads one line of 64 numbers at each of three or four levels, where a
binary tree takes twenty dependent steps. Each change recomputes sums from their line, so they do not drift.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from polyak.lazy import jax, jnp
from polyak.tree import pytree, replace, static
from polyak.types import Array

if TYPE_CHECKING:
    from jaxtyping import Float, Int

FAN_OUT = 64
EPSILON = 1e-6  # lets a transition without error be drawn again


@pytree
class Priorities:
    """`levels[-1]` holds a priority for each place of the replay; the others hold sums over 64 of the level below."""

    levels: tuple[Float[Array, "sums"], ...]
    highest: Float[Array, ""]  # the largest priority so far, which new transitions get
    capacity: int = static()  # the last level is padded to whole lines of 64; the padding is never written


def init(capacity: int) -> Priorities:
    """Make priorities of 0, none of which can be drawn, for this many places."""
    sizes = [-(-capacity // FAN_OUT) * FAN_OUT]
    while sizes[0] > FAN_OUT:
        sizes.insert(0, -(-sizes[0] // FAN_OUT**2) * FAN_OUT)
    return Priorities(tuple(jnp.zeros(size) for size in sizes), jnp.ones(()), capacity)


def resized(tree: Priorities, capacity: int) -> Priorities:
    """Copy priorities to a tree of another capacity, which must hold all places in use."""
    levels, values = list[Array](), tree.levels[-1]
    for level in reversed(init(capacity).levels):
        count = min(level.shape[0], values.shape[0])
        levels.insert(0, jnp.asarray(level).at[:count].set(values[:count]))
        values = levels[0].reshape(-1, FAN_OUT).sum(-1)
    return Priorities(tuple(levels), tree.highest, capacity)


def enter(tree: Priorities, places: Int[Array, "n"]) -> Priorities:
    """Give new transitions the highest priority so far; ignore places at or beyond the capacity."""
    return _write(tree, places, jnp.broadcast_to(tree.highest, places.shape))


def revise(tree: Priorities, places: Int[Array, "n"], td_error: Float[Array, "n"], alpha: Array | float) -> Priorities:
    """Set the priorities of transitions after an update: (|δ| + ε)^α."""
    priorities = (jnp.abs(td_error) + EPSILON) ** alpha
    tree = replace(tree, highest=jnp.maximum(tree.highest, priorities.max()))
    return _write(tree, places, priorities)


def _write(tree: Priorities, places: Array, priorities: Array) -> Priorities:
    inside, levels = places < tree.capacity, list[Array]()
    values = priorities
    for level in reversed(tree.levels):
        if levels:
            places = places // FAN_OUT
            values = levels[0].reshape(-1, FAN_OUT)[places].sum(-1)
        kept = jnp.where(inside, places, level.shape[0])
        levels.insert(0, jnp.asarray(level).at[kept].set(values, mode="drop"))
    return replace(tree, levels=tuple(levels))


def draw(
    tree: Priorities, key: jax.Array, n: int, size: Int[Array, ""], beta: Array | float
) -> tuple[Int[jax.Array, "n"], Float[Array, "n"]]:
    """Draw n places in proportion to their priority, and return their importance weights too.

    `size` is N, the number of places written. As in the paper (section 3.3 and appendix B.2.1), the total priority is
    divided into n equal ranges and one place is drawn from each.
    """
    total = tree.levels[0].sum()
    rest = (jnp.arange(n) + jax.random.uniform(key, (n,))) / n * total
    places = jnp.zeros(n, jnp.int32)
    chosen: Array = rest
    for level in tree.levels:
        line = jnp.asarray(level).reshape(-1, FAN_OUT)[places]
        sums = jnp.cumsum(line, -1)
        last = FAN_OUT - 1 - jnp.argmax(line[:, ::-1] > 0, -1)  # rounding must not lead to a place of priority 0
        step = jnp.minimum((sums <= rest[:, None]).sum(-1), last)
        before = jnp.where(step > 0, _at(sums, jnp.maximum(step - 1, 0)), 0.0)
        places, rest, chosen = places * FAN_OUT + step.astype(jnp.int32), rest - before, _at(line, step)
    # `chosen` is not gathered again from the tree: XLA would copy a level that is read again before it is changed
    weights = (size * chosen / total) ** -beta
    return places, weights / weights.max()


def _at(lines: Array, steps: Array) -> Array:
    return jnp.take_along_axis(lines, steps[:, None], -1)[:, 0]
