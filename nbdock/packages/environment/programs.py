"""`bin_sh` and `usr_bin_env`: what scripts expect at ``/bin/sh`` and ``/usr/bin/env``.

    contents = [ pkgs.hello binSh usrBinEnv ];

From nixpkgs they are the links that dockerTools makes: to bash, and to coreutils' env. Among
Debian's packages they are the packages that Debian itself has these programs from.
"""

from __future__ import annotations

from nbdock.packages.environment.helper import Helper, look_up
from nbdock.packages.files import FilesPackage, symlink
from nbdock.packages.package import Package, PackageSet

__all__ = ["Shadow", "bin_sh", "usr_bin_env"]


class BinSh(Helper):
    """``/bin/sh``."""

    name = "bin-sh"

    async def in_debian(self, packages: PackageSet) -> Package:
        """Debian's ``/bin/sh`` is dash."""
        return await look_up(packages, "dash")

    async def in_nixpkgs(self, packages: PackageSet) -> Package:
        """A link to the interactive bash, so that a shell in a container is a pleasant one."""
        bash = await look_up(packages, "bashInteractive", "bash-interactive")
        return FilesPackage(self.name, [symlink("bin/sh", f"{bash}/bin/bash")], needs=(bash,))


class UsrBinEnv(Helper):
    """``/usr/bin/env``."""

    name = "usr-bin-env"

    async def in_debian(self, packages: PackageSet) -> Package:
        """Debian's coreutils stand at ``/usr/bin`` anyway."""
        return await look_up(packages, "coreutils")

    async def in_nixpkgs(self, packages: PackageSet) -> Package:
        """A link to coreutils' env."""
        coreutils = await look_up(packages, "coreutils")
        link = symlink("usr/bin/env", f"{coreutils}/bin/env")
        return FilesPackage(self.name, [link], needs=(coreutils,))


class Shadow(Helper):
    """``groupadd``, ``useradd`` and their like: what scripts with `shadow_setup` call."""

    name = "shadow"

    async def in_debian(self, packages: PackageSet) -> Package:
        """Debian has them in the package passwd."""
        return await look_up(packages, "passwd")

    async def in_nixpkgs(self, packages: PackageSet) -> Package:
        """The package itself, in the store."""
        return await look_up(packages, "shadow")


bin_sh = BinSh()
"""``/bin/sh``: bash with nixpkgs' packages, dash with Debian's."""

usr_bin_env = UsrBinEnv()
"""``/usr/bin/env`` of coreutils."""
