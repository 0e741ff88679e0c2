"""Lanes are spread over devices; what a lane computes does not depend on where."""

import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from polyak.errors import UsageError
from polyak.networks.layers import Linear
from polyak.training import devices
from tests.fixtures.compare import assert_identical

DEVICES = len(jax.devices())  # conftest.py asks for 4


@pytest.mark.parametrize(("lanes", "used"), [(1, 1), (2, 2), (3, 3), (4, 4), (6, 3), (8, 4), (12, 4)])
def test_lanes_get_as_many_devices_as_divide_them_evenly(lanes: int, used: int) -> None:
    assert DEVICES == 4
    sharding = devices.spread(lanes)
    assert sharding.mesh.size == used
    assert len(jax.device_put(np.zeros((lanes, 2)), sharding).addressable_shards) == used


@pytest.mark.parametrize("lanes", [1, 3, 8], ids=["alone", "one a device", "two a device"])
def test_a_program_runs_the_function_for_every_lane(lanes: int) -> None:
    def function(shared: Any, own: Any) -> Any:
        assert own["x"].shape == (2,)  # it sees one lane
        return {"sum": shared + own["x"].sum(), "key": jax.random.normal(own["key"])}

    sharding = devices.spread(lanes)
    keys = jax.random.split(jax.random.key(0), lanes)
    own = jax.device_put({"x": jnp.arange(2.0 * lanes).reshape(lanes, 2), "key": keys}, sharding)
    shared = jax.device_put(jnp.float32(100), devices.everywhere(sharding))
    out = devices.program(function, (), sharding, lanes=(False, True))(shared, own)
    # lane i holds 2i and 2i + 1
    np.testing.assert_array_equal(out["sum"], [100 + 4 * i + 1 for i in range(lanes)])
    np.testing.assert_allclose(out["key"], [jax.random.normal(key) for key in keys], rtol=1e-6)


def test_lanes_that_share_a_device_draw_orthogonal_weights() -> None:  # for which the QR of jaxlib waits forever
    def draw(key: Any) -> Any:
        return Linear.orthogonal(key, 8, 8, 1.0).weight

    sharding, keys = devices.spread(8), jax.random.split(jax.random.key(0), 8)
    weights = devices.program(draw, (), sharding, lanes=(True,))(jax.device_put(keys, sharding))
    np.testing.assert_allclose(weights, [draw(key) for key in keys], atol=1e-6)


def test_a_donated_argument_is_reused() -> None:
    sharding = devices.spread(2)
    add = devices.program(lambda state, x: state + x, (), sharding, lanes=(True, True), donate=(0,))
    x = jax.device_put(np.ones((2, 1000), np.float32), sharding)
    state = add(jax.device_put(np.ones((2, 1000), np.float32), sharding), x)  # a device's own memory, not NumPy's
    places = [shard.data.unsafe_buffer_pointer() for shard in state.addressable_shards]
    after = add(state, x)
    assert [shard.data.unsafe_buffer_pointer() for shard in after.addressable_shards] == places
    assert state.is_deleted()


def test_the_cache_of_compiled_programs_belongs_to_the_user(monkeypatch: Any, tmp_path: Any) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert devices.cache_folder() == tmp_path / "polyak" / "compiled"


@pytest.mark.parametrize(
    ("lanes", "cores", "split"), [(1, 1, 2), (1, 2, 2), (1, 16, 16), (4, 2, 5), (64, 2, 65), (10_000, 8, 65)]
)
def test_the_cpu_has_a_device_for_every_lane_and_one_to_act_on(lanes: int, cores: int, split: int) -> None:
    assert devices.cpu_devices(lanes, cores) == split


def test_acts_on_the_last_device_of_the_cpu_where_jax_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert devices.to_act_on() == jax.devices("cpu")[-1]

    def only_gpus(backend: str | None = None) -> list[str]:
        if backend is not None:
            raise RuntimeError(f"Unknown backend {backend}")
        return ["cuda:0", "cuda:1"]

    monkeypatch.setattr(jax, "local_devices", only_gpus)
    assert devices.to_act_on() == "cuda:1"


def test_fetches_alike_one_by_one_and_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tree = {"a": jnp.arange(3), "b": (jnp.ones(()),)}
    one_by_one = devices.fetched(tree)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert_identical(one_by_one, devices.fetched(tree))
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(one_by_one))


def test_what_the_machine_has() -> None:
    assert devices.cores() >= 1
    assert devices.memory() > 100e6


def test_a_resumed_run_uses_no_more_devices_than_before() -> None:
    assert devices.spread(4).num_devices == 4
    assert devices.spread(4, most=1).num_devices == 1
    assert devices.spread(4, most=3).num_devices == 2
    assert devices.spread(3, most=2).num_devices == 1


def test_counts_the_seconds_of_compiling_once() -> None:
    @jax.jit
    def inner(x: jax.Array) -> jax.Array:
        return jnp.sin(x)

    began = time.monotonic()
    with devices.Compiling() as compiling:
        jax.jit(lambda x: inner(x) + inner(x + 1))(jnp.ones(3))
    assert 0 < compiling.seconds <= time.monotonic() - began
    before = compiling.seconds
    jax.jit(lambda x: inner(x) - 2)(jnp.ones(4))
    assert compiling.seconds == before


def test_spans_within_others_count_once() -> None:
    compiling = devices.Compiling()
    for span in [(1.0, 2.0), (2.5, 3.0), (0.5, 4.0), (5.0, 6.0)]:
        compiling._hear("/jax/core/compile/any", *span)
    compiling._hear("/jax/other", 6.0, 9.0)
    assert compiling.seconds == 3.5 + 1.0


def test_a_user_without_a_home_has_no_folder_of_compiled_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> None:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr("pathlib.Path.home", nowhere)
    assert devices.cache_folder() is None
    settings = dict(jax.config.values)
    devices.prepare()
    assert dict(jax.config.values) == settings


def test_a_process_forked_after_jax_started_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert devices.has_started()  # by the tests
    monkeypatch.setattr(devices.Forked, "after_jax", False)
    devices.prepare()
    devices.Forked.remember()
    with pytest.raises(UsageError, match="spawn"):
        devices.prepare()
