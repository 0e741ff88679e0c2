"""Fields that know their limits."""

import dataclasses
import math
from fractions import Fraction
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from polyak.errors import UsageError, nearest
from polyak.fields import check, number
from polyak.tree import PARTS, pytree, replace, static


@pytree
class Settings:
    share: float = number(default=0.5, least=0, most=1)
    rate: float = number(default=1e-3, above=0)
    optional: float | None = number(default=None, least=0)
    layers: tuple[int, ...] = number(default=(8, 8), least=1, static=True)
    free: float = 1.0
    kind: Literal["plain", "fancy"] = static(default="plain")

    def __post_init__(self) -> None:
        check(self)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"share": -0.1}, "share = -0.1 is too small: it must be at least 0"),
        ({"share": 1.1}, "share = 1.1 is too large: it must be at most 1"),
        ({"share": 2}, "share = 2 is too large"),
        ({"share": math.nan}, "share is not a number"),
        ({"share": np.float64(1.1)}, "share = 1.1 is too large"),
        ({"rate": 0.0}, "rate = 0.0 is too small: it must be above 0"),
        ({"rate": math.inf}, "rate"),
        ({"optional": -1}, "optional = -1 is too small"),
        ({"layers": (8, 0)}, "layers = 0 is too small: it must be at least 1"),
        ({"free": math.nan}, "free is not a number"),
        ({"share": "half"}, "share = 'half' has the wrong type: it must be float"),
        ({"share": True}, "share = True has the wrong type"),
        ({"rate": None}, "rate = None has the wrong type"),
        ({"optional": "off"}, "optional = 'off' has the wrong type: it must be float | None"),
        ({"layers": [8, 8]}, "layers = [8, 8] has the wrong type"),
        ({"layers": (8, 0.5)}, "layers = (8, 0.5) has the wrong type"),
        ({"share": np.float32(2.0)}, "share = 2.0 is too large"),
        ({"layers": (8, np.int64(0))}, "layers = 0 is too small"),
        ({"layers": np.array([8, 0])}, "layers = 0 is too small"),
        ({"layers": np.array([8.5])}, "layers = (8.5,) has the wrong type"),
        ({"layers": np.array([[8]])}, "layers = ([8],) has the wrong type"),
        ({"share": np.array([0.5, 0.5])}, "share = (0.5, 0.5) has the wrong type"),
        ({"share": Fraction(1, 2)}, "share = Fraction(1, 2) has the wrong type: it must be float"),
        ({"share": [0] * 1000}, "share = [0, 0, 0, 0, 0, 0, ...] has the wrong type"),
        ({"free": 10**400}, "free is too large: no whole number may pass ±(2⁶³ - 1)"),
        ({"free": -(10**30)}, "free is too small: no whole number"),
        ({"layers": (2**63,)}, "layers is too large"),
        ({"kind": np.array(["plain"])}, "kind = ('plain',) is unknown"),
        ({"kind": "fency"}, "kind = 'fency' is unknown: did you mean 'fancy'?"),
    ],
    ids=str,
)
def test_refuses(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as error:
        Settings(**wrong)
    assert message in str(error.value)


@pytest.mark.parametrize(
    "right",
    [{"share": 0}, {"share": 1}, {"optional": None}, {"optional": 0.0}, {"layers": ()}, {"free": -9.0}],
    ids=str,
)
def test_accepts_the_limits_themselves(right: dict[str, Any]) -> None:
    Settings(**right)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"share": np.float32(0.5)}, {"share": 0.5}),
        ({"share": np.array(0.5)}, {"share": 0.5}),
        ({"layers": np.array([4, 2])}, {"layers": (4, 2)}),
        ({"layers": (np.int32(4), 2)}, {"layers": (4, 2)}),
        ({"kind": np.str_("fancy")}, {"kind": "fancy"}),
        ({"share": jnp.float32(0.25)}, {"share": 0.25}),
    ],
    ids=str,
)
def test_numbers_of_numpy_become_pythons(given: dict[str, Any], kept: dict[str, Any]) -> None:
    settings = Settings(**given)
    assert settings == Settings(**kept)
    for name, value in kept.items():
        found = getattr(settings, name)
        assert type(found) is type(value)
        assert not isinstance(value, tuple) or all(type(part) is int for part in found)


def test_numbers_of_jax_are_checked() -> None:
    with pytest.raises(UsageError, match="share"):
        Settings(share=jnp.float32(5.0))


def test_jax_may_put_anything_into_the_fields() -> None:
    shifted = jax.jit(lambda settings: jax.tree.map(lambda leaf: leaf - 100, settings))(Settings())
    assert shifted.share == -99.5
    named = jax.tree.map(lambda leaf: "a word", Settings())
    assert (named.share, named.kind) == ("a word", "plain")
    stacked = jax.vmap(lambda share: Settings(share=share))(jnp.arange(3.0))
    np.testing.assert_array_equal(stacked.share, [0, 1, 2])


def test_nearest_names_one_or_lists_all() -> None:
    assert nearest("gama", ["gamma", "tau"]) == "did you mean 'gamma'?"
    assert nearest("x", ["gamma", "tau"]) == "choose one of: gamma, tau"
    assert nearest("x", [f"long name {i}" for i in range(30)]) == "`polyak list` shows what there is"


@pytree
class Inherited:
    first: int = number(default=1, least=0)
    second: int = number(default=2, least=0, static=True)


@pytree
class Settled(Settings, Inherited):
    own: int = number(default=3, least=0)
    rate: float = number(default=2e-3, above=0)  # another default than that of `Settings`


def test_own_fields_come_before_inherited_ones_in_the_order_of_the_bases() -> None:
    names = [field.name for field in dataclasses.fields(Settled)]
    assert names == ["own", "share", "rate", "optional", "layers", "free", "kind", "first", "second"]
    static = ["layers", "kind", "second"]
    assert PARTS[Settled] == ([name for name in names if name not in static], static)


def test_inherited_fields_are_checked_and_kept() -> None:
    with pytest.raises(UsageError, match="second = -1 is too small"):
        Settled(second=-1)
    settled = replace(Settled(first=5, share=0.25), own=4)
    assert (settled.own, settled.first, settled.share, settled.rate) == (4, 5, 0.25, 2e-3)
    assert jax.tree.map(lambda leaf: leaf, settled) == settled
