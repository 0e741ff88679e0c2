"""JAX and Optax, imported on first use, because reading a run and acting in NumPy do not need them and start sooner.

Modules of polyak write `from polyak.lazy import jax, jnp` instead of `import jax` and `import jax.numpy as jnp`, and
postpone the evaluation of annotations. Users' modules may import JAX directly.
"""

import importlib
import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, TypeGuard

if TYPE_CHECKING:
    import jax as jax
    import jax.numpy as jnp
    import optax as optax
else:

    class Later:
        """A module that is imported on the first access to one of its attributes."""

        def __init__(self, name: str):
            self._name, self._module = name, None

        def __getattr__(self, attribute: str) -> object:
            if self._module is None:
                self._module = importlib.import_module(self._name)
            return getattr(self._module, attribute)

        def __repr__(self) -> str:
            return f"<module {self._name!r}, imported when it is used>"

    jax, jnp, optax = Later("jax"), Later("jax.numpy"), Later("optax")


def is_jax_array(value: object) -> "TypeGuard[jax.Array]":
    """Return whether a value is a JAX array; always False before JAX is imported."""
    return sys.modules.get("jax") is not None and isinstance(value, jax.Array)


def once_jax_is_imported(act: Callable[[], object]) -> None:
    """Call a function now if JAX has been imported, otherwise as soon as it is."""
    if sys.modules.get("jax") is not None:
        importlib.import_module("jax")  # waits if another thread is importing it
        act()
        return
    watch = next((finder for finder in sys.meta_path if isinstance(finder, _Watch)), None)
    if watch is None:
        watch = _Watch()
        sys.meta_path.insert(0, watch)
    watch.waiting.append(act)


class _Watch(MetaPathFinder):
    """Leaves finding JAX to the other finders, and calls the waiting functions once it is loaded."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], object]] = []

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return what the other finders find, with a loader that calls back."""
        if name != "jax":
            return None
        others = (finder for finder in sys.meta_path if finder is not self and hasattr(finder, "find_spec"))
        found = next(filter(None, (finder.find_spec(name, path, target) for finder in others)), None)
        if found is not None and found.loader is not None:
            load = found.loader.exec_module

            def load_and_call(module: ModuleType) -> None:
                load(module)
                if self in sys.meta_path:
                    sys.meta_path.remove(self)
                while self.waiting:
                    self.waiting.pop(0)()

            # replacing the method of this one loader is the purpose
            found.loader.exec_module = load_and_call  # type: ignore[method-assign]
        return found
