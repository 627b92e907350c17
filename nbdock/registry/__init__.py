"""The async registry client: references to bytes, and back."""

from nbdock.registry.client import RegistryClient
from nbdock.registry.credentials import Credentials, Login
from nbdock.registry.fetched import FetchedManifest

__all__ = ["RegistryClient", "FetchedManifest", "Credentials", "Login"]  # noqa: RUF022 (by importance)
