"""`shadow_setup`: a piece of shell that makes the files which shadow's tools work on.

    runAsRoot = ''
      #!${pkgs.runtimeShell}
      ${shadowSetup}
      groupadd -r redis
      useradd -r -g redis redis
    '';

It is plain text that works in any image that has a shell, ``mkdir`` and shadow's tools, whether
they come from Debian (package passwd) or lie in a Nix store. The tools come along: in a cell the
text brings them into the image, as interpolating a package does; in Python, where an f-string drops
what it was made of, put ``pkgs.shadow`` or ``apt.passwd`` into ``contents``.

Like dockerTools' own it makes files only where there are none, and does not go together with
`fake_nss`, whose passwd file comes without a shadow file.
"""

from __future__ import annotations

from nbdock.nixlang import ContextString
from nbdock.packages.environment.programs import Shadow

__all__ = ["shadow_setup"]

_SCRIPT = """\
export PATH="$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
if ! command -v useradd > /dev/null; then
  for nbdock_tools in /nix/store/*-shadow-*/bin; do
    if [ -x "$nbdock_tools/useradd" ]; then PATH="$nbdock_tools:$PATH"; fi
  done
  unset nbdock_tools
fi
mkdir -p /etc/pam.d
if [ ! -f /etc/passwd ]; then
  echo "root:x:0:0::/root:${BASH:-/bin/sh}" > /etc/passwd
  echo 'root:!x:::::::' > /etc/shadow
fi
if [ ! -f /etc/group ]; then
  echo 'root:x:0:' > /etc/group
  echo 'root:x::' > /etc/gshadow
fi
if [ ! -f /etc/pam.d/other ]; then
  {
    echo 'account sufficient pam_unix.so'
    echo 'auth sufficient pam_rootok.so'
    echo 'password requisite pam_unix.so nullok yescrypt'
    echo 'session required pam_unix.so'
  } > /etc/pam.d/other
fi
if [ ! -f /etc/login.defs ]; then
  : > /etc/login.defs
fi
"""

shadow_setup: str = ContextString(_SCRIPT, (Shadow(),))
"""Shell commands for ``runAsRoot``: the files for users and groups, where there are none."""
