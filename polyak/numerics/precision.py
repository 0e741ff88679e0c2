"""Compute in 32 bits, even where the user or a simulator has enabled 64 bits for the rest of the process.

Otherwise settings and random numbers would change the types of arrays, and the bits of a run.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from polyak.lazy import jax

Result = TypeVar("Result")


def in_32_bits() -> contextlib.AbstractContextManager[object]:
    """Compute in 32 bits while this is open."""
    # JAX adds the attributes of jax.config at run time
    return jax.enable_x64(False) if jax.config.jax_enable_x64 else contextlib.nullcontext()  # type: ignore[attr-defined]


class compiled(Generic[Result]):  # noqa: N801 (it is used as `jax.jit` is)
    """A function compiled by `jax.jit` that computes in 32 bits, with the attributes of the compiled function."""

    def __init__(self, function: Callable[..., Result], donate: Sequence[int] = ()):
        """Wrap a function; `donate` are the arguments whose memory it may reuse."""
        self.jitted = jax.jit(function, donate_argnums=donate)

    def __call__(self, *arguments: object) -> Result:
        """Run, after tracing and compiling where that is needed."""
        with in_32_bits():
            return self.jitted(*arguments)

    def __getattr__(self, name: str) -> object:
        return getattr(self.jitted, name)
