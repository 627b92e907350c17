"""dockerTools' environment helpers: files that programs expect in every image.

    contents = [ apt.curl caCertificates fakeNss ];

Each is a value; nothing is looked up before an image is made with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nbdock.later import names_of
from nbdock.packages.environment.certificates import ca_certificates
from nbdock.packages.environment.fakenss import FakeNss, fake_nss
from nbdock.packages.environment.helper import Helper, look_up
from nbdock.packages.environment.programs import bin_sh, usr_bin_env

if TYPE_CHECKING:
    from nbdock.packages.environment.shadowsetup import shadow_setup

__all__ = [  # noqa: RUF022, in order of importance
    "shadow_setup",
    "fake_nss",
    "bin_sh",
    "usr_bin_env",
    "ca_certificates",
    "FakeNss",
    "Helper",
    "look_up",
]

# Its text remembers packages as strings of cells do; the language of cells is not loaded for those
# who need no other helper.
__getattr__, _ = names_of(__name__, {"shadowsetup": "shadow_setup"})
