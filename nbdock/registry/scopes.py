"""What a request needs to be allowed, in the words of the distribution's token specification.

>>> pulling = Access.to("library/redis", "pull")
>>> sorted(pulling.scopes)
['repository:library/redis:pull']
"""

from __future__ import annotations

import dataclasses
from typing import Final

__all__ = ["NOTHING", "Access"]


@dataclasses.dataclass(frozen=True, slots=True)
class Access:
    """What a token must allow.

    Attributes
    ----------
    repository
        The repository that the request is about: logins may be for a part of a registry only.
    scopes
        ``repository:<name>:<actions>``, one or more.
    """

    repository: str
    scopes: frozenset[str]

    @classmethod
    def to(cls, repository: str, actions: str, *, mount_from: str = "") -> Access:
        """Some actions (``"pull,push"``) on a repository, and reading another to mount from it."""
        own = f"repository:{repository}:{actions}"
        other = {f"repository:{mount_from}:pull"} if mount_from else set()
        return cls(repository, frozenset({own, *other}))


NOTHING: Final = Access("", frozenset())
"""For requests that are about no repository."""
