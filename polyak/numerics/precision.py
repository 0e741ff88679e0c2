"""Everything is computed in 32 bits, also where the user, or a simulator, has turned on 64 for the rest of the process.

Arrays would else change their types as settings and random numbers enter, and a run its bits.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

from polyak.lazy import jax


def in_32_bits() -> contextlib.AbstractContextManager[Any]:
    """Compute in 32 bits while this is open."""
    return jax.enable_x64(False) if jax.config.jax_enable_x64 else contextlib.nullcontext()  # type: ignore[attr-defined]


class compiled:  # noqa: N801 (it is used as `jax.jit` is)
    """A function compiled by `jax.jit`, which computes in 32 bits. It has all that the compiled function has."""

    def __init__(self, function: Callable[..., Any], donate: Sequence[int] = ()):
        """Wrap a function; `donate` are the arguments whose memory it may use."""
        self.jitted = jax.jit(function, donate_argnums=donate)

    def __call__(self, *arguments: Any) -> Any:
        """Trace and compile where that is needed, and run."""
        with in_32_bits():
            return self.jitted(*arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.jitted, name)
