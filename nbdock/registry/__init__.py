"""The async registry client: references to bytes, and back."""

from nbdock.registry.client import RegistryClient
from nbdock.registry.credentials import Credentials, Login
from nbdock.registry.fetched import FetchedManifest
from nbdock.registry.requirements import REQUIREMENTS
from nbdock.registry.uploads import Delivery

__all__ = [  # noqa: RUF022 (by importance)
    "RegistryClient",
    "FetchedManifest",
    "Delivery",
    "Credentials",
    "Login",
    "REQUIREMENTS",
]
