"""Commands as root in a virtual machine: what they leave of an image, and what they may not."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from support.apt_archive import Archive, Signer

import nbdock
from nbdock.errors import ArgumentError, ArgumentTypeError, CommandError, UnavailableError
from nbdock.filetree import Entry, EntryKind
from nbdock.images import CompletedCommand, Image
from nbdock.packages import AptPackageSet, Package, apt

Files = Callable[[Image], dict[str, Entry]]


@pytest.fixture(autouse=True)
def _home(apt_home: Path) -> None:
    """A store of its own for every test; the guests that they begin with are shared."""


@pytest.fixture
def busybox(tmp_path: Path) -> Package:
    """A shell and its programs, as contents."""
    program = shutil.which("busybox") or "/bin/busybox"
    folder = tmp_path / "busybox" / "bin"
    folder.mkdir(parents=True)
    shutil.copy(program, folder / "busybox")
    for name in ("sh", "id", "cat"):
        (folder / name).symlink_to("busybox")
    return nbdock.directory(folder.parent)


async def test_one_layer_of_contents_and_what_a_script_changed(
    busybox: Package, tmp_path: Path, apt_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = await nbdock.build_image("base", contents=[nbdock.text_file("etc/a", "a"), busybox])
    script = """
        test "$(cat etc/motd etc/a)" = "hello
        a"
        chown 12:34 etc/motd; chmod 4755 etc/motd
        rm etc/a; mkdir -p srv/data; echo kept >srv/data/file; ln srv/data/file srv/linked
        rm etc/gone; echo said; env >/variables
    """.replace("        a", "a")

    async def build(said: list[str]) -> Image:
        return await nbdock.build_image(
            "it", from_image=base, on_log=said.append, run_as_root=script,
            contents=[nbdock.text_file("etc/motd", "hello\n"), nbdock.text_file("etc/gone", "x")],
            extra_commands="echo extra >srv/extra; rm variables", config={"Env": ["A=b"]},
            disk_size=64, build_vm_memory_size=256,
        )  # fmt: skip

    said: list[str] = []
    image = await build(said)
    assert said == ["said"]
    assert len(image.layers) == 2
    top = {entry.path.decode(): entry for entry in image.layer_entries(1)}
    assert sorted(top) == [
        "etc", "etc/.wh.a", "etc/motd", "srv", "srv/data", "srv/data/file", "srv/extra",
        "srv/linked",
    ]  # fmt: skip
    motd = top["etc/motd"]
    assert (motd.uid, motd.gid, motd.mode, motd.read()) == (12, 34, 0o4755, b"hello\n")
    assert top["srv/linked"].kind is EntryKind.HARDLINK
    assert {entry.mtime for path, entry in top.items() if path.startswith("srv/d")} == {315532800}

    # Known by its recipe: no machine is started again.
    again: list[str] = []
    assert (await build(again)).digest == image.digest
    assert again == []

    # Run anew, where nothing of it is known: the same bytes.
    with monkeypatch.context() as elsewhere:
        (tmp_path / "another-home").mkdir()
        (tmp_path / "another-home" / "vm").symlink_to(apt_home / "vm")
        elsewhere.setenv("NBDOCK_HOME", str(tmp_path / "another-home"))
        other = await build(again)
    assert again == ["said"]
    assert other.store.home != image.store.home
    assert other.digest == image.digest

    # On top of it, and as a container would see it.
    job = image.run(
        "id -u; pwd; echo $A$B; cat motd a; exit 3", env={"B": "c"}, user="7:8", working_dir="/etc"
    )
    done = await job
    assert done == CompletedCommand(3, done.output)
    assert done.output.splitlines()[:3] == ["7", "/etc", "bc"]
    assert list(job.log) == done.output.splitlines()
    assert "hello" in str(done)


async def test_a_script_that_fails_leaves_no_image(nbdock_home: Path) -> None:
    script = "echo one\nls /missing\necho two\n"
    base = await nbdock.build_image("base", tag="1", contents=nbdock.text_file("a", "a"))
    blobs = set((nbdock_home / "blobs" / "sha256").iterdir())
    with pytest.raises(CommandError, match="run_as_root failed with exit code") as caught:
        await nbdock.build_image("it", from_image=base, run_as_root=script)
    error = caught.value
    assert error.exit_code != 0
    assert "missing" in error.output
    assert (error.argument, error.line, error.source_line) == ("run_as_root", 2, "ls /missing")
    assert "two" not in error.output
    assert set((nbdock_home / "blobs" / "sha256").iterdir()) == blobs


async def test_what_cannot_be_run_is_said_before_a_machine_starts() -> None:
    foreign = await nbdock.build_image(
        "it", architecture="s390x", contents=nbdock.text_file("a", "a"), config={"Cmd": ["/a"]}
    )
    with pytest.raises(UnavailableError, match="for linux/s390x"):
        await foreign.run()
    with pytest.raises(UnavailableError, match="for linux/s390x"):
        await nbdock.run_as_root(foreign, "true")
    bare = await nbdock.build_image("bare", contents=nbdock.text_file("a", "a"))
    with pytest.raises(ArgumentError, match="neither Entrypoint nor Cmd"):
        bare.run()
    with pytest.raises(ArgumentTypeError, match="command must be"):
        bare.run([1])  # type: ignore[list-item]
    with pytest.raises(ArgumentTypeError, match="run_as_root must be"):
        await nbdock.build_image("it", run_as_root=["ls"])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("config", "arguments", "line"),
    [
        ({"Cmd": ["a"]}, {}, ("a",)),
        ({"Cmd": ["a"], "Entrypoint": ["e"]}, {}, ("e", "a")),
        ({"Cmd": ["a"], "Entrypoint": ["e"]}, {"command": ["b", "c"]}, ("e", "b", "c")),
        ({"Cmd": ["a"], "Entrypoint": ["e"]}, {"entrypoint": ["f"]}, ("f",)),
        ({"Entrypoint": ["e"]}, {"command": "b c"}, ("e", "/bin/sh", "-c", "b c")),
        ({"Shell": ["/bin/bash", "-ec"]}, {"command": "b"}, ("/bin/bash", "-ec", "b")),
    ],
)
def test_what_is_run_is_what_docker_runs(
    config: dict[str, list[str]], arguments: dict[str, list[str]], line: tuple[str, ...]
) -> None:
    from nbdock.images.running import command_line
    from nbdock.oci import ContainerConfig

    given = {"command": None, "entrypoint": None, **arguments}
    assert command_line(ContainerConfig.from_mapping(config), **given) == line


async def test_a_script_on_an_image_gives_one_layer_more() -> None:
    base = await nbdock.build_image(
        "base", tag="1", contents=nbdock.text_file("a", "a"),
        config={"Cmd": ["/a"], "Labels": {"x": "y"}},
    )  # fmt: skip
    image = await nbdock.run_as_root(base, "#!/bin/sh\nmkdir -m 700 /data", tag="2")
    assert image.reference == "base:2"
    assert image.layers[0].diff_id == base.layers[0].diff_id
    (data,) = image.layer_entries(1)
    assert (data.path, data.mode) == (b"data", 0o700)
    assert image.config.config == base.config.config
    assert image.layers[1].comment == "runAsRoot"


async def test_fake_root_commands_and_fakechroot(files: Files) -> None:
    motd = nbdock.text_file("etc/motd", "hello")
    image = await nbdock.build_layered_image(
        "fake", contents=motd, extra_commands="mkdir home",
        fake_root_commands="test ! -e etc/motd -a ! -e /etc/motd\n"
        "mkdir ./home/jane; chown 1000:100 ./home/jane",
    )  # fmt: skip
    jane = files(image)["home/jane"]
    assert (jane.uid, jane.gid) == (1000, 100)
    assert image.layers[-1].comment.endswith("extraCommands and fakeRootCommands")

    stream = nbdock.stream_layered_image(
        "fake", from_image=image, contents=motd, enable_fakechroot=True,
        fake_root_commands="chown 7 /etc/motd; rmdir /home/jane; echo x >/file",
    )  # fmt: skip
    chrooted = await stream.build()
    top = {e.path.decode(): e for e in chrooted.layer_entries(len(chrooted.layers) - 1)}
    assert sorted(top) == ["etc", "etc/motd", "file", "home", "home/.wh.jane"]
    assert top["etc/motd"].uid == 7


async def test_who_owns_what_commands_see_and_make_is_in_the_recipe(
    tmp_path: Path, files: Files
) -> None:
    """Nothing is taken from a cache that was made for another owner."""
    (tmp_path / "tool").mkdir()
    (tmp_path / "tool" / "file").write_text("x")
    tool = nbdock.directory(tmp_path / "tool", store=True)
    gone, kept = nbdock.text_file("etc/gone", "x"), nbdock.text_file("etc/kept", "x")
    base = await nbdock.build_image("base", contents=kept)
    for uid in (0, 1000):
        image = await nbdock.build_image(
            "it", from_image=base, run_as_root="mkdir /data", extra_commands="touch made", uid=uid
        )
        assert {e.path: e.uid for e in image.layer_entries(1)} == {b"data": 0, b"made": uid}
        image = await nbdock.build_layered_image(
            "fake", contents=[tool, gone, kept], uid=uid, include_store_paths=False,
            enable_fakechroot=True, fake_root_commands=f"cp -a {tool}/file /copy; rm /etc/gone",
        )  # fmt: skip
        top = {e.path.decode(): e for e in image.layer_entries(len(image.layers) - 1)}
        assert top["copy"].uid == uid
        # What the image has without its store can be removed as well.
        assert "etc/.wh.gone" in top
        assert not [path for path in files(image) if path.startswith("nix/store")]


def write_archive(path: Path) -> None:
    """Packages whose configuration is worth something, but quick."""
    with Signer() as signer:
        archive = Archive(path, signer)
        note = b'#!/bin/sh\nset -e\necho "$DPKG_MAINTSCRIPT_NAME $*" >>/var/notes-%s\n'
        archive.add("first", "1.0", multi_arch="same", files={
            "etc/first.conf": b"x\n", "DEBIAN/conffiles": b"/etc/first.conf\n",
            "DEBIAN/preinst": note % b"first", "DEBIAN/postinst": note % b"first",
            "DEBIAN/triggers": b"interest-noawait plugins\n",
        })  # fmt: skip
        archive.add("second", "2.0", depends="first", files={
            "usr/share/plugins/one": b"", "DEBIAN/postinst": note % b"second",
            "DEBIAN/triggers": b"activate-noawait plugins\n",
        })  # fmt: skip
        archive.publish("stable")
        signer.export(path / "key.gpg")


async def test_debian_packages_are_configured_for_real(tmp_path: Path, apt_home: Path) -> None:
    write_archive(tmp_path / "archive")
    key = tmp_path / "archive/key.gpg"
    own = apt(f"file:{tmp_path}/archive", suite="stable", architecture="amd64", keyring=key)
    machine = nbdock.apt()

    def packages(of: AptPackageSet, *names: str) -> list[object]:
        return [of[name] for name in names]

    # What dpkg needs is there, and counts as configured: only the two packages are.
    needed = ("dpkg", "dash", "coreutils", "diffutils", "libc-bin", "sed")
    base = await nbdock.build_image(
        "base", contents=await asyncio.to_thread(packages, machine, *needed)
    )
    loaded = await nbdock.load_image(await base.save(tmp_path / "base.tar"))
    contents = await asyncio.to_thread(packages, own, "second")
    image = await nbdock.build_image(
        "it", from_image=loaded, contents=contents, run_as_root="dpkg --configure -a",
        config={"Cmd": ["sh", "-c", "dpkg --audit && dpkg --verify first second && dpkg -l"]},
    )  # fmt: skip
    top = {entry.path.decode(): entry for entry in image.layer_entries(1)}
    status = top["var/lib/dpkg/status"].read().decode()
    assert "unpacked" not in status
    stanza = next(part for part in status.split("\n\n") if part.startswith("Package: first\n"))
    md5 = subprocess.run(["md5sum"], input=b"x\n", check=True, capture_output=True).stdout.split()[
        0
    ]
    assert "Status: install ok installed\n" in stanza
    assert f" /etc/first.conf {md5.decode()}" in stanza
    assert top["var/notes-first"].read() == (
        b"preinst install\npostinst configure \npostinst triggered plugins\n"
    )
    assert top["var/notes-second"].read() == b"postinst configure \n"
    assert "var/lib/dpkg/info/first:amd64.list" in top
    assert "var/lib/dpkg/.wh.status.d" in top
    assert not [p for p in top if "nbdock" in p or "policy-rc.d" in p or p.endswith("dpkg.log")]
    done = await image.run()
    assert done.exit_code == 0, done.output
    assert {"second", "first:amd64", "dash"} <= set(done.output.split())

    # A script that does not speak to dpkg leaves the records as they are.
    plain = await nbdock.build_image(
        "it", from_image=loaded, contents=contents, run_as_root="mkdir /data"
    )
    paths = {entry.path.decode() for entry in plain.layer_entries(1)}
    assert {"data", "var/lib/dpkg/status.d/second"} <= paths
    assert not [path for path in paths if path.startswith("var/lib/dpkg/info")]
    assert "var/lib/dpkg/status" not in paths
