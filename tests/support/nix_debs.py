"""The Debian packages that the tests' small nixpkgs is made of (see `nixpkgs/default.nix`).

    python tests/support/nix_debs.py DIRECTORY

leaves the .debs and ``debs.json`` there: for each Debian package its file, its version and, of
what it depends on, the libraries. They come through nbdock's own `apt()`, so from the sources this
machine is configured with.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

ROOTS = (
    "hello", "bash", "coreutils", "redis-server", "passwd", "nginx", "busybox-static",
    "ca-certificates", "openssl", "libncurses-dev", "ncurses-bin", "zlib1g-dev", "nix-bin",
    "libstdc++6", "netbase", "python3-requests",
)  # fmt: skip

# What they depend on in Debian and do without in a store: interpreters, services, build tools.
EXCLUDED = (
    "adduser", "base-files", "bzip2", "curl", "debconf", "debianutils", "dpkg", "gcc-12-base",
    "init-system-helpers", "iproute2", "libc-dev-bin", "libc6-dev", "libdbd-sqlite3-perl",
    "libdbi-perl", "libncurses6", "libpam-modules", "libwww-curl-perl", "lsb-base", "perl",
    "perl-base", "python3", "python3-chardet", "python3-pkg-resources", "python3-six",
    "sysvinit-utils", "tar", "xz-utils",
)  # fmt: skip


async def fetch(directory: Path) -> None:
    """Fetch the .debs and say what they are."""
    import nbdock
    from nbdock.packages.debian.fetching import deb_path

    packages = nbdock.apt(exclude=EXCLUDED)
    await packages.load()
    closure = await packages.closure([packages[name] for name in ROOTS])
    await packages.fetch(closure.packages)
    found = {}
    for package in closure.packages:
        assert isinstance(package, nbdock.packages.AptPackage)
        file = f"{package.name}.deb"
        shutil.copyfile(deb_path(package.record), directory / file)
        needs = [closure[key].name for key in closure.references[package.key]]
        found[package.name] = {
            "file": file,
            "version": package.version,
            "libraries": [name for name in needs if _is_library(name)],
        }
    text = json.dumps(found, indent=1, sort_keys=True)
    (directory / "debs.json").write_text(text)


def _is_library(name: str) -> bool:
    return name.startswith(("lib", "zlib")) and not name.endswith(("-common", "-dev", "-bin"))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="nbdock-debs-") as home:
        os.environ["NBDOCK_HOME"] = home
        asyncio.run(fetch(Path(sys.argv[1])))
