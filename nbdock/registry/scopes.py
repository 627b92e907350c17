"""What a token must allow, in the words of the distribution's token specification.

>>> sorted(scopes_for("library/redis", "pull"))
['repository:library/redis:pull']
"""

from __future__ import annotations

__all__ = ["NO_SCOPES", "scopes_for"]

NO_SCOPES: frozenset[str] = frozenset()


def scopes_for(repository: str, actions: str, *, mount_from: str = "") -> frozenset[str]:
    """The scopes for some actions (``"pull,push"``) on a repository, and for reading another."""
    own = f"repository:{repository}:{actions}"
    return frozenset({own, f"repository:{mount_from}:pull"} if mount_from else {own})
