"""Lists that come in pages: a repository's tags.

The next page is where the ``Link`` header says (RFC 8288), which the specification puts before
counting on with ``last``. A list ends at `settings.registry_tags_limit`, and a page that leads back
to one that was read already is an error, for a hostile registry could page for ever.
"""

from __future__ import annotations

import re
from urllib.parse import urljoin

from nbdock.errors import RegistryError, TransportError, UnsafeDestinationError
from nbdock.oci import load_json
from nbdock.registry.repository import Repository
from nbdock.transport import origin_of, redacted

__all__ = ["next_page", "tags"]

# What ECR allows at most; others allow more or ignore it.
_PAGE = 1000
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_LINK = re.compile(r'<([^<>"\s]{1,4096})>((?:\s*;\s*[\w*-]+\s*=\s*(?:"[^"]*"|[^\s;,"]+))*)')
_REL_NEXT = re.compile(r'(?i);\s*rel\s*=\s*(?:"(?:[^"]*\s)?next(?:\s[^"]*)?"|next(?![\w-]))')


def next_page(link: str, url: str) -> str | None:
    """The URL of the page after `url`, by its ``Link`` header; None if it is the last.

    >>> next_page('</v2/a/tags/list?last=x&n=2>; rel="next"', "http://h/v2/a/tags/list?n=2")
    'http://h/v2/a/tags/list?last=x&n=2'

    Raises
    ------
    UnsafeDestinationError
        The next page is at another server.
    """
    for match in _LINK.finditer(link[:8192]):
        if not _REL_NEXT.search(match[2]):
            continue
        target = match[1]
        try:
            target = urljoin(url, target)
            is_here = origin_of(target) == origin_of(url)
        except (TransportError, ValueError):
            is_here = False
        if not is_here:
            raise UnsafeDestinationError(
                f"{redacted(url)} says that its next page is at {redacted(target)}.",
                url=redacted(target),
                hint="A list goes on where it began; this registry is broken or hostile.",
            )
        return target
    return None


async def tags(repository: Repository) -> tuple[str, ...]:
    """All tags of a repository, in the registry's order; see `RegistryClient.tags`."""
    host = repository.host
    what = f"the tags of {repository.name}"
    limit = host.limits.registry_tags_limit
    url: str | None = await repository.url(f"tags/list?n={_PAGE}")
    pages: set[str] = set()
    found: dict[str, None] = {}
    while url is not None:
        if url in pages:
            raise RegistryError(f"The list of {what} leads in a circle.", url=redacted(url))
        pages.add(url)
        answer = await host.fetch(
            "GET", url, limit_bytes=host.limits.json_limit_bytes, what=what,
            access=repository.access("pull"),
        )  # fmt: skip
        fields = load_json(answer.body, "a list of tags").fields()
        # What is no tag cannot be pulled either.
        found.update((tag, None) for tag in fields.strings("tags") if _TAG.fullmatch(tag))
        if len(found) > limit or len(pages) > limit:
            raise RegistryError(
                f"{repository.name} has more than {limit:,} tags.",
                url=redacted(url),
                hint="The most that are listed is the setting registry_tags_limit.",
            )
        url = next_page(answer.headers.get("link", ""), answer.url)
    return tuple(found)
