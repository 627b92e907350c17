"""dockerTools' helpers in containers: Debian's packages, and Nix's, in a real engine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from support.engine import Engine
from support.nix import Nix

import nbdock
from nbdock.images import Image
from nbdock.nixlang import ContextString
from nbdock.packages import Package
from nbdock.packages.nix import LocalStore

pytestmark = pytest.mark.engine

# As in the manual.
SCRIPT = f"""set -e
{nbdock.shadow_setup}
groupadd -r redis
useradd -r -g redis redis
mkdir /data
chown redis:redis /data
"""
SHOW = """
stat -c '%n %a %U:%G' /data
for file in passwd shadow group gshadow pam.d/other login.defs; do
  echo "== $file"; cat /etc/$file
done
"""


@pytest.fixture(autouse=True)
def _home(apt_home: Path) -> None:
    """A store of its own for every test; downloads are shared."""


async def debian(*names: str) -> list[Package]:
    sources = nbdock.apt()
    await sources.load()
    return [sources[name] for name in names]


async def loaded(engine: Engine, directory: Path, name: str, contents: Sequence[Package]) -> Image:
    image = await nbdock.build_layered_image(name, tag="1", contents=contents)
    engine.load(await image.save(directory / "image.tar"))
    return image


def shown(text: str) -> dict[str, str]:
    """What `SHOW` said: the files by name, and what came before them."""
    before, *files = text.split("== ")
    return {"": before, **dict(file.split("\n", 1) for file in files)}


@pytest.mark.parametrize("shell", ["bash", "dash"])
async def test_shadow_setup_among_debians_packages(
    shell: str, docker_engine: Engine, tmp_path: Path
) -> None:
    contents = await debian(shell, "passwd", "coreutils")
    await loaded(docker_engine, tmp_path, "shadow-debian", contents)
    said = shown(docker_engine.run("shadow-debian:1", f"/bin/{shell}", "-c", SCRIPT + SHOW))
    interpreter = "/bin/bash" if shell == "bash" else "/bin/sh"
    assert said[""] == "/data 755 redis:redis\n"
    root, redis = said["passwd"].splitlines()
    assert root == f"root:x:0:0::/root:{interpreter}"
    assert redis.startswith("redis:x:999:999::/home/redis:")
    assert said["shadow"].splitlines()[0] == "root:!x:::::::"
    assert said["group"].splitlines() == ["root:x:0:", "redis:x:999:"]
    assert said["gshadow"].splitlines() == ["root:x::", "redis:!::"]


async def test_shadow_setup_leaves_files_as_they_are(docker_engine: Engine, tmp_path: Path) -> None:
    own = {
        "passwd": "root:x:0:0:own:/root:/bin/bash\n",
        "shadow": "root:*:19000:0:99999:7:::\n",
        "group": "root:x:0:\nstaff:x:50:\n",
        "gshadow": "root:*::\nstaff:*::\n",
        "pam.d/other": "auth required pam_deny.so\n",
        "login.defs": "UMASK 027\nSYS_UID_MAX 800\nSYS_GID_MAX 800\n",
    }
    contents = [
        *await debian("bash", "passwd", "coreutils"),
        *(nbdock.text_file(f"etc/{name}", text) for name, text in own.items()),
    ]
    await loaded(docker_engine, tmp_path, "shadow-own", contents)
    said = shown(docker_engine.run("shadow-own:1", "/bin/bash", "-c", nbdock.shadow_setup + SHOW
                                   .replace("stat", "true")))  # fmt: skip
    assert {name: said[name] for name in own} == own
    said = shown(docker_engine.run("shadow-own:1", "/bin/bash", "-c", SCRIPT + SHOW))
    assert said["passwd"].splitlines()[1].startswith("redis:x:800:800:")
    assert said["login.defs"] == own["login.defs"]


async def test_shadow_setup_with_a_nix_store(
    docker_engine: Engine, local_nix: Nix, tmp_path: Path
) -> None:
    """The tools are only in the store, as nothing at / leads to them."""
    store = LocalStore()
    bash, coreutils, shadow = (
        store[path] for path in local_nix.build_all("bash", "coreutils", "shadow")
    )
    image = await nbdock.build_layered_image(
        "shadow-nix", tag="1", contents=[coreutils, nbdock.text_file("etc/nothing", "")],
        config={"Env": [ContextString(f"TOOLS={shadow}", (shadow,))],
                "Cmd": [ContextString(f"{bash}/bin/bash", (bash,)), "-c", SCRIPT + SHOW]},
    )  # fmt: skip
    docker_engine.load(await image.save(tmp_path / "image.tar"))
    said = shown(docker_engine.run("shadow-nix:1"))
    assert said[""] == "/data 755 redis:redis\n"
    assert said["passwd"].startswith(f"root:x:0:0::/root:{bash}/bin/bash\nredis:x:999:999:")
    assert said["login.defs"] == ""
    assert said["pam.d/other"].splitlines() == [
        "account sufficient pam_unix.so",
        "auth sufficient pam_rootok.so",
        "password requisite pam_unix.so nullok yescrypt",
        "session required pam_unix.so",
    ]


async def test_certificates_are_trusted_without_nix(docker_engine: Engine, tmp_path: Path) -> None:
    contents = [
        *await debian("python3"),
        nbdock.ca_certificates, nbdock.bin_sh, nbdock.usr_bin_env, nbdock.fake_nss,
        nbdock.script("count", "import ssl, pwd\nprint(len(ssl.create_default_context()"
                      ".get_ca_certs()) > 100, pwd.getpwuid(65534).pw_name)\n",
                      interpreter="/usr/bin/env python3"),
    ]  # fmt: skip
    image = await loaded(docker_engine, tmp_path, "certificates", contents)
    assert docker_engine.run("certificates:1", "/bin/sh", "-c", "count") == "True nobody\n"
    assert not any(path.startswith("/nix") for path in str(image.plan).split())


async def test_helpers_lead_into_the_nix_store(
    docker_engine: Engine, local_nix: Nix, tmp_path: Path
) -> None:
    """nixpkgs' ``image-with-certs``, and its examples of environment helpers, in both builders."""
    pkgs = nbdock.nixpkgs()
    helpers = [nbdock.bin_sh, nbdock.usr_bin_env, nbdock.ca_certificates, nbdock.fake_nss]
    contents = [pkgs["coreutils"], *helpers]
    bash, certificates = local_nix.build_all("bashInteractive", "cacert")
    look = """
      for place in /etc/ssl/certs/ca-bundle.crt /etc/ssl/certs/ca-certificates.crt \
        /etc/pki/tls/certs/ca-bundle.crt; do readlink $place; test -r $place || echo gone; done
      readlink /bin/sh; /usr/bin/env -i sh -c 'echo $0'; id -un; stat -c '%a %U' /var/empty
    """
    layered = await nbdock.build_layered_image("layered", tag="1", contents=contents)
    single = await nbdock.build_image("single", tag="1", copy_to_root=contents)
    for image in (layered, single):
        docker_engine.load(await image.save(tmp_path / "image.tar"))
        said = docker_engine.run(str(image.reference), "/bin/sh", "-c", look, options=("-u65534",))
        assert said.splitlines() == [
            *[f"{certificates}/etc/ssl/certs/ca-bundle.crt"] * 3,
            f"{bash}/bin/bash", "sh", "nobody", "755 root",
        ]  # fmt: skip
    # What was linked is in the closure, and nothing else came along.
    asked = [*local_nix.build_all("coreutils", "bashInteractive", "cacert")]
    in_store = {p.root for p in layered.closure.packages if p.root != "/"}
    assert in_store == set(local_nix.closure(*asked))
