"""The devices that a run uses, and how its lanes are distributed over them."""

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

MOST_CPU_DEVICES = 64  # beyond this, further queues cost more than batching the lanes


def prepare(lanes: int = 1) -> None:
    """Before JAX starts, split the CPU into devices with one queue each, and cache compiled programs on disk.

    There is one device for each lane, up to a limit, and one for acting, but no more: XLA splits large matrix products
    over as many threads as there are devices, and with 16 of them on 2 cores 256-256 products take 1.7 times as long.
    Neither setting is changed if the user has set it, nor the split if JAX has already started. Raises UsageError if
    JAX cannot start, or if this process was forked after JAX had started, where it would hang.
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
        with contextlib.suppress(RuntimeError):  # JAX has started: use the devices it has
            jax.config.update("jax_num_cpu_devices", cpu_devices(lanes, cores()))
    try:
        jax.local_devices()
    except (RuntimeError, AssertionError) as error:
        what = os.environ.get("JAX_PLATFORMS", "the devices asked for")
        raise UsageError(
            f"JAX cannot use {what}: {str(error).splitlines()[0] if str(error) else 'none found'}"
        ) from error


class Forked:
    """What is known of the process that this one was forked from, if any."""

    after_jax = False  # whether JAX had started in it

    @classmethod
    def remember(cls) -> None:
        """Record, in a process that was just forked, whether JAX had started."""
        cls.after_jax = cls.after_jax or has_started()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=Forked.remember)


def has_started() -> bool:
    """Return whether JAX has started its devices, after which it refuses to change their number."""
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
    """Return the number of devices into which the CPU is split."""
    return max(cores, min(lanes, MOST_CPU_DEVICES) + 1)


def cache_folder() -> Path | None:
    """Return the per-user folder for compiled programs; None if the user has no home folder."""
    try:
        root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:
        return None
    return Path(root) / "polyak" / "compiled"


def cores() -> int:
    """Return how many CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def spread(lanes: int, most: int | None = None) -> jax.sharding.NamedSharding:
    """Choose devices for the lanes: one each if there are enough, else the largest number that divides them evenly.

    `most` limits their number: a resumed run uses as many as before, because lanes that share a device are batched and
    may round differently.

    A CPU has more devices than cores on purpose: the operating system balances them better than lanes batched by core
    (measured: 1.1 times the speed with 4 lanes on 2 cores), and a lane alone on its device computes the same bits
    whatever the other lanes are, provided that JAX has the same number of devices: XLA may split sums by their number,
    and round differently.
    """
    devices = jax.local_devices()
    count = max(d for d in range(1, min(lanes, len(devices), most or lanes) + 1) if lanes % d == 0)
    mesh = jax.sharding.Mesh(np.array(devices[:count]), ("lane",))
    return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("lane"))


def to_act_on() -> jax.Device:
    """Return the device for compiled acting: the last CPU device, if JAX may use the CPU."""
    try:
        return jax.local_devices(backend="cpu")[-1]
    except RuntimeError:
        return jax.local_devices()[-1]


def fetched(tree: T) -> T:
    """Copy arrays to the host: on a CPU one by one, which is faster for a few small ones, elsewhere all at once."""
    return jax.tree.map(np.asarray, tree) if jax.default_backend() == "cpu" else jax.device_get(tree)


def everywhere(sharding: jax.sharding.NamedSharding) -> jax.sharding.NamedSharding:
    """Return the sharding of arrays that all lanes share: a copy on every device."""
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

    `fixed` are leading arguments that are not arrays; `lanes` and `donate` start after them. `config` is the config
    among the arguments: its static settings are part of the cache key. A device with one lane runs the plain function,
    so that other lanes do not affect it (see `spread`); a device with several lanes runs it batched.
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

    if sharding.num_devices == 1:  # cheaper to call, which matters in short iterations
        return compiled(on_one_device, donate)
    by_lane, everywhere = jax.sharding.PartitionSpec("lane"), jax.sharding.PartitionSpec()
    specs = tuple(by_lane if has_lanes else everywhere for has_lanes in lanes)
    sharded = jax.shard_map(on_one_device, mesh=sharding.mesh, in_specs=specs, out_specs=by_lane, check_vma=False)
    return compiled(sharded, donate)


MOST_KEPT = 32  # programs, each with its compiled code


def cached(make: Callable[..., Result], *parts: object, config: Tree = None) -> Result:
    """Return `make(*parts)`, or what it returned earlier for equal parts, which is already traced and compiled.

    Training that differs from an earlier one in the same process only in float settings of the config thus compiles
    nothing. Results are cached only if all parts belong to polyak, and only while its modules keep the same functions:
    a user's algorithm or environment may have changed since. A config with other static settings has its own entry.
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
    """Yield a value and, recursively, the elements of tuples and the fields of dataclasses."""
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
    """Counts the seconds that JAX spends on tracing and compiling within this context."""

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
            while self.spans and self.spans[-1][0] >= start_time:  # nested traces and compilations
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
