"""Which devices a run uses, and how its lanes are spread over them."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, TypeVar

import numpy as np

from polyak.errors import UsageError
from polyak.lazy import jax
from polyak.numerics.precision import compiled
from polyak.tree import take
from polyak.types import Tree

T = TypeVar("T")
Result = TypeVar("Result")

MOST_CPU_DEVICES = 64  # beyond it, more queues cost more than batching the lanes


def prepare(lanes: int = 1) -> None:
    """Before JAX starts: split the CPU into devices, one queue each, and keep compiled programs between processes.

    There is one for each lane, within reason, and one to act on, and no more: XLA shares every large product out to as
    many threads as there are devices, and with 16 of them on 2 cores products of 256-256 take 1.7 times as long.
    Both are left alone where the user has set them, and the split where JAX has started already. Raises UsageError
    where JAX cannot start, and in a process that was forked after it had: there JAX would wait for ever.
    """
    if Forked.after_jax:
        raise UsageError(
            "this process was forked after JAX had started, and JAX does not work in it: start processes with"
            ' multiprocessing.get_context("spawn")'
        )
    folder = cache_folder()
    if jax.config.values["jax_compilation_cache_dir"] is None and folder is not None:
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    flags = os.environ.get("XLA_FLAGS", "")
    if jax.config.values["jax_num_cpu_devices"] == -1 and "xla_force_host_platform_device_count" not in flags:
        with contextlib.suppress(RuntimeError):  # JAX has started: whatever devices it has will do
            jax.config.update("jax_num_cpu_devices", cpu_devices(lanes, cores()))
    try:
        jax.local_devices()
    except (RuntimeError, AssertionError) as error:
        what = os.environ.get("JAX_PLATFORMS", "the devices asked for")
        raise UsageError(
            f"JAX cannot use {what}: {str(error).splitlines()[0] if str(error) else 'none found'}"
        ) from error


class Forked:
    """What is known of the process that this one was forked from, if it was."""

    after_jax = False  # whether JAX had started in it

    @classmethod
    def remember(cls) -> None:
        """Take note in a process that was just forked."""
        cls.after_jax = cls.after_jax or has_started()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=Forked.remember)


def has_started() -> bool:
    """Say whether JAX has started its devices, by trying to change their number, which JAX refuses from then on."""
    if sys.modules.get("jax") is None:
        return False
    number = jax.config.values["jax_num_cpu_devices"]
    try:
        jax.config.update("jax_num_cpu_devices", max(number, 0) + 1)
    except RuntimeError:
        return True
    jax.config.update("jax_num_cpu_devices", number)
    return False


def cpu_devices(lanes: int, cores: int) -> int:
    """Say into how many devices the CPU is split."""
    return max(cores, min(lanes, MOST_CPU_DEVICES) + 1)


def cache_folder() -> Path | None:
    """Return the per-user folder of compiled programs; None where the user has no home."""
    try:
        root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:
        return None
    return Path(root) / "polyak" / "compiled"


def cores() -> int:
    """Return how many CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def spread(lanes: int, most: int | None = None) -> jax.sharding.NamedSharding:
    """Choose devices for the lanes: one each where there are enough, else as many as divide them evenly.

    `most` limits their number: a run that is resumed uses as many as before, because lanes that share a device are
    batched and may round differently.

    On a CPU there are more devices than cores, on purpose: the operating system balances them better than lanes
    batched by core (measured 1.1 times the speed with 4 lanes on 2 cores), and a lane alone on its device computes
    the same bits whatever the other lanes are, as long as JAX has as many devices: XLA may share a sum out by their
    number, and round differently.
    """
    devices = jax.local_devices()
    count = max(d for d in range(1, min(lanes, len(devices), most or lanes) + 1) if lanes % d == 0)
    mesh = jax.sharding.Mesh(np.array(devices[:count]), ("lane",))
    return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("lane"))


def to_act_on() -> jax.Device:
    """Return the device on which acting is compiled: the last of the CPU, where JAX was not told to do without one."""
    try:
        return jax.local_devices(backend="cpu")[-1]
    except RuntimeError:
        return jax.local_devices()[-1]


def fetched(tree: T) -> T:
    """Copy arrays to the host: on a CPU one by one, which is faster for few small ones, elsewhere all at once."""
    return jax.tree.map(np.asarray, tree) if jax.default_backend() == "cpu" else jax.device_get(tree)


def everywhere(sharding: jax.sharding.NamedSharding) -> jax.sharding.NamedSharding:
    """Return the placement of what all lanes share: a copy on every device."""
    return jax.sharding.NamedSharding(sharding.mesh, jax.sharding.PartitionSpec())


def program(
    function: Callable[..., Result],
    fixed: Sequence[object],
    sharding: jax.sharding.NamedSharding,
    lanes: Sequence[bool],
    donate: Sequence[int] = (),
    config: Tree = None,
) -> Callable[..., Result]:
    """Compile a function of one lane for all lanes; `lanes` says which arguments have a leading lane axis.

    `fixed` are arguments before those, which are no arrays; `donate` counts from behind them. Of a config, which is
    one of the arguments, the static settings are known beforehand. A device with one lane runs the plain function, so
    that the other lanes do not matter to it (see `spread`); a device with several runs it batched.
    """
    return cached(_program, function, tuple(fixed), sharding, tuple(lanes), tuple(donate), config=config)


def _program(
    function: Callable[..., Result],
    fixed: tuple[object, ...],
    sharding: jax.sharding.NamedSharding,
    lanes: tuple[bool, ...],
    donate: tuple[int, ...],
) -> Callable[..., Result]:
    axes, bound = tuple(0 if has_lanes else None for has_lanes in lanes), partial(function, *fixed)

    def on_one_device(*arguments: Tree) -> Result:
        here = next(jax.tree.leaves(a)[0].shape[0] for a, has_lanes in zip(arguments, lanes, strict=True) if has_lanes)
        if here > 1:
            return jax.vmap(bound, in_axes=axes)(*arguments)
        alone = [take(a, 0) if has_lanes else a for a, has_lanes in zip(arguments, lanes, strict=True)]
        return jax.tree.map(lambda leaf: leaf[None], bound(*alone))

    if sharding.num_devices == 1:  # calling it costs less so, which short iterations feel
        return compiled(on_one_device, donate)
    by_lane, everywhere = jax.sharding.PartitionSpec("lane"), jax.sharding.PartitionSpec()
    specs = tuple(by_lane if has_lanes else everywhere for has_lanes in lanes)
    sharded = jax.shard_map(on_one_device, mesh=sharding.mesh, in_specs=specs, out_specs=by_lane, check_vma=False)
    return compiled(sharded, donate)


MOST_KEPT = 32  # programs, each with what it was compiled to


def cached(make: Callable[..., Result], *parts: object, config: Tree = None) -> Result:
    """Return `make(*parts)`, or what it returned before for equal parts: that is traced and compiled already.

    So a training that differs from an earlier one of the same process in the float settings of its config alone
    compiles nothing. Only what consists of polyak's own parts is cached, with the functions that its modules now have:
    a user's algorithm or environment may have been changed since. A config with other static settings has an entry of
    its own.
    """
    inside = [*_inside((make, *parts))]
    if not all(_package(part) in ("polyak", "jax", "builtins") for part in inside):
        return make(*parts)
    modules = [part for part in inside if isinstance(part, ModuleType)]
    functions = tuple(value for module in modules for value in vars(module).values() if isinstance(value, FunctionType))
    return _cached(make, parts, functions, jax.tree.structure(config))


@lru_cache(MOST_KEPT)
def _cached(make: Callable[..., object], parts: tuple[object, ...], *rest: Hashable) -> Any:
    return make(*parts)


def _inside(part: object) -> Iterator[object]:
    """List what tuples and dataclasses consist of, and they themselves."""
    yield part
    if isinstance(part, tuple):
        for one in part:
            yield from _inside(one)
    elif dataclasses.is_dataclass(part) and not isinstance(part, type):
        for field in dataclasses.fields(part):
            yield from _inside(getattr(part, field.name))


def _package(part: object) -> str:
    name = part.__name__ if isinstance(part, ModuleType) else getattr(part, "__module__", type(part).__module__)
    return name.partition(".")[0]


class Compiling:
    """Counts the seconds in which JAX traces and compiles while this is open."""

    def __init__(self) -> None:
        self.spans: list[tuple[float, float]] = []

    @property
    def seconds(self) -> float:
        """Return the seconds so far."""
        return sum(end - start for start, end in self.spans)

    def __enter__(self) -> "Compiling":
        jax.monitoring.register_event_time_span_listener(self._hear)
        return self

    def __exit__(self, *_: object) -> None:
        jax.monitoring.unregister_event_time_span_listener(self._hear)

    def _hear(self, event: str, start_time: float, end_time: float, **_: object) -> None:
        if event.startswith("/jax/core/compile/"):
            while self.spans and self.spans[-1][0] >= start_time:  # of what was traced or compiled within
                self.spans.pop()
            self.spans.append((start_time, end_time))


def memory(lanes: int = 1) -> int:
    """Return the bytes of memory that so many lanes have: of the machine, its container, or the GPUs they are on."""
    stats = jax.local_devices()[0].memory_stats() or {}
    if "bytes_limit" in stats:
        return int(stats["bytes_limit"]) * spread(lanes).num_devices
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")
    text = limit.read_text().strip() if limit.exists() else "max"
    return min(total, int(text)) if text.isdigit() else total
