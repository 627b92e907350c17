"""The async registry client: references to bytes, and back."""

from nbdock.registry.client import RegistryClient
from nbdock.registry.fetched import FetchedManifest

__all__ = ["RegistryClient", "FetchedManifest"]  # noqa: RUF022 (by importance)
