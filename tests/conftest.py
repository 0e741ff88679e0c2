"""Strict numerics for all tests: set before JAX starts, which is when the first array is made."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import jax
import pytest
from hypothesis import settings

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "polyak" / "tests"

# most of the time of the tests is compilation, of programs that run only briefly
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_backend_optimization_level=1"
jax.config.update("jax_platforms", "cpu")  # the tests compare bits, and count devices
jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_compilation_cache_dir", str(CACHE))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell leaves it for what it starts in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)

# the first example of a compiled function compiles it, which takes longer than any deadline; no examples are stored
settings.register_profile("polyak", deadline=None, max_examples=50, derandomize=True, database=None)
settings.load_profile("polyak")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give all tests of an agent to one process, which compiles it once; those of unusual agents are slow."""
    for item in items:
        agent = getattr(item, "callspec", None) and item.callspec.params.get("agent")  # type: ignore[attr-defined]
        if agent is not None:
            item.add_marker(pytest.mark.xdist_group(repr((agent.name, agent.variant, agent.spec))))
            if not agent.usual or (item.get_closest_marker("thorough") and not agent.fullest):
                item.add_marker(pytest.mark.slow)


@pytest.fixture(autouse=True, scope="module")
def _few_programs_in_memory() -> Iterator[None]:
    """Forget what a module compiled: together the programs of all tests take gigabytes."""
    yield
    jax.clear_caches()
