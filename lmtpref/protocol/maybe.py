"""Values that are available, or must be awaited: the results of hooks, directories and queues."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING, TypeAlias, TypeVar

if TYPE_CHECKING:
    from typing_extensions import TypeIs

T = TypeVar("T")

Maybe: TypeAlias = T | Awaitable[T]


def waits(value: Maybe[T]) -> TypeIs[Awaitable[T]]:
    """Return whether `value` must be awaited."""
    return hasattr(value, "__await__")


async def resolve(value: Maybe[T]) -> T:
    """Return `value`, after awaiting it if necessary."""
    return await value if waits(value) else value
