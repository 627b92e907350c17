"""A directory as a package: the same bytes for everyone, a key that tells changes, clear errors."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from nbdock.errors import ArgumentTypeError, NbdockError, SizeMismatchError
from nbdock.filetree import EntryKind, write_tar
from nbdock.packages import Package, directory

PAST = 1_700_000_000


def age(root: Path) -> None:
    """Wait until nothing below `root` was changed so shortly ago that its listing is racy."""
    newest = max(path.lstat().st_ctime for path in [root, *root.rglob("*")])
    while time.time() <= newest + 0.05:
        os.sched_yield()


@pytest.fixture
def app(tmp_path: Path) -> Path:
    root = tmp_path / "app"
    (root / "bin").mkdir(parents=True)
    (root / "bin/run").write_text("#!/bin/sh\n")
    (root / "bin/run").chmod(0o755)
    (root / "data").mkdir()
    (root / "data/text").write_text("text")
    (root / "link").symlink_to("data/text")
    (root / "nowhere").symlink_to("/no/such/place")
    return root


def as_tar(package: Package) -> bytes:
    out = io.BytesIO()
    write_tar(package.entries(), out.write)
    return out.getvalue()


def listing(package: Package) -> dict[str, tuple[object, ...]]:
    with tarfile.open(fileobj=io.BytesIO(as_tar(package))) as archive:
        return {
            m.name: (m.type, m.mode, m.uid, m.gid, m.uname, m.gname, m.mtime, m.size, m.linkname)
            for m in archive
        }


def test_what_is_in_it(app: Path) -> None:
    package = directory(app)
    assert (package.name, package.version, package.root, str(package)) == ("app", "", "/", "")
    assert package.size_bytes == 14
    plain = (0, 0, "root", "root", 1)
    assert list(listing(package).items())[-6:] == [
        ("bin", (tarfile.DIRTYPE, 0o755, *plain, 0, "")),
        ("bin/run", (tarfile.REGTYPE, 0o755, *plain, 10, "")),
        ("data", (tarfile.DIRTYPE, 0o755, *plain, 0, "")),
        ("data/text", (tarfile.REGTYPE, 0o644, *plain, 4, "")),
        ("link", (tarfile.SYMTYPE, 0o777, *plain, 0, "data/text")),
        ("nowhere", (tarfile.SYMTYPE, 0o777, *plain, 0, "/no/such/place")),
    ]
    with tarfile.open(fileobj=io.BytesIO(as_tar(package))) as archive:
        assert archive.extractfile("data/text").read() == b"text"  # type: ignore[union-attr]


def test_neither_umask_nor_times_nor_owners_nor_the_working_directory_show(
    app: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = as_tar(directory(app))
    copy = tmp_path / "elsewhere" / "app"
    (tmp_path / "elsewhere").mkdir()
    subprocess.run(["sh", "-c", 'umask 077; cp -R "$0" "$1"', app, copy], check=True)
    for path in copy.rglob("*"):
        os.utime(path, (PAST, PAST), follow_symlinks=False)
        if os.getuid() == 0:
            os.chown(path, 1234, 4321, follow_symlinks=False)
    monkeypatch.chdir(copy.parent)
    assert as_tar(directory("app")) == before
    assert as_tar(directory("./app/")) == before
    monkeypatch.chdir("/")
    script = (
        "import sys; from nbdock.packages import directory; from nbdock.filetree import write_tar; "
        "write_tar(directory(sys.argv[1]).entries(), sys.stdout.buffer.write)"
    )
    other = subprocess.run(
        [sys.executable, "-c", script, copy], capture_output=True, check=True,
        env={"PATH": os.environ["PATH"], "LC_ALL": "C", "TZ": "Pacific/Auckland"},
    )  # fmt: skip
    assert other.stdout == before


def test_what_can_be_kept(app: Path) -> None:
    run = app / "bin/run"
    if os.getuid() == 0:
        os.chown(run, 1234, 4321)
    run.chmod(0o4711)
    os.utime(run, (PAST, PAST))
    status = run.stat()
    kept = listing(directory(app, owner="keep", modes="keep", mtime="keep"))["bin/run"]
    assert kept[1:4] == (0o4711, status.st_uid, status.st_gid)
    assert kept[6] == PAST
    given = listing(directory(app, owner="keep", uid=7, mtime=PAST + 1))["bin/run"]
    assert given[1:4] == (0o755, 7, status.st_gid)
    assert given[6] == PAST + 1


def test_capabilities_are_kept_with_modes_only(app: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    capability = bytes.fromhex("0100000200200000000000000000000000000000")
    # Only root may set one, and not on every filesystem: a fake is what the kernel would say.
    monkeypatch.setattr(os, "listxattr", lambda path, **_: ["security.capability"])
    monkeypatch.setattr(os, "getxattr", lambda path, name, **_: capability)
    found = {e.path: e.xattrs for e in directory(app, modes="keep").entries()}
    assert found[b"bin/run"] == {"security.capability": capability}
    assert not any(e.xattrs for e in directory(app).entries())


def test_names_and_roots(app: Path) -> None:
    package = directory(app, name="own", root="/nix/store/abc-own")
    assert (package.name, package.root, str(package)) == ("own", *["/nix/store/abc-own"] * 2)
    assert directory(f"{app}/data/..").name == "app"
    for root in ("", "srv", "/srv/", "/srv/../etc", "//srv", "/a\0", "..", None, 3):
        with pytest.raises(ArgumentTypeError, match="root"):
            directory(app, root=root)  # type: ignore[arg-type]
    for name in ("", "a/b", ".."):
        with pytest.raises(ArgumentTypeError, match="name"):
            directory(app, name=name)


def test_a_link_to_a_directory_is_followed_and_links_inside_are_not(
    app: Path, tmp_path: Path
) -> None:
    (tmp_path / "to-app").symlink_to(app)
    assert as_tar(directory(tmp_path / "to-app")) == as_tar(directory(app))
    (app / "data/up").symlink_to("..")
    assert listing(directory(app))["data/up"][0] == tarfile.SYMTYPE


def test_hard_links_are_files_of_their_own(app: Path) -> None:
    os.link(app / "data/text", app / "data/again")
    found = listing(directory(app))
    assert found["data/again"] == found["data/text"]


def test_any_name(app: Path) -> None:
    names = [b"caf\xc3\xa9", b"latin-\xe9", b"new\nline", b"*.[a", b"back\\slash", b" "]
    for name in names:
        (app / os.fsdecode(name)).write_text("x")
    found = {entry.path for entry in directory(app).entries()}
    assert found >= set(names)
    assert len(directory(app, ignore=["latin-*", "new*"]).key) > 20


@pytest.mark.parametrize(
    ("ignore", "gone"),
    [
        ([], set()),
        (["text"], {"data/text"}),
        (["data"], {"data", "data/text"}),
        (["data/"], {"data", "data/text"}),
        (["data/text"], {"data/text"}),
        (["./bin/r*"], {"bin/run"}),
        (["bin/text", "tex"], set()),
        (["*"], {"bin", "bin/run", "data", "data/text", "link", "nowhere"}),
        (["[ln]*", "TEXT"], {"link", "nowhere"}),
    ],
)
def test_ignore(app: Path, ignore: list[str], gone: set[str]) -> None:
    everything = set(listing(directory(app)))
    package = directory(app, ignore=ignore)
    assert everything - set(listing(package)) == gone
    assert package.size_bytes == 14 - 10 * ("bin/run" in gone) - 4 * ("data/text" in gone)


def test_version_control_is_not_left_out_silently(app: Path) -> None:
    (app / ".git").mkdir()
    (app / ".git/HEAD").write_text("x")
    assert ".git/HEAD" in listing(directory(app))
    assert ".git/HEAD" not in listing(directory(app, ignore=[".git"]))


def test_the_key_stays_while_nothing_changes(app: Path) -> None:
    age(app)
    package = directory(app)
    assert package.key == package.key == directory(app).key == package.current().key
    assert package == package.current()


@pytest.mark.parametrize(
    "change",
    [
        lambda app: (app / "data/text").write_text("test"),
        lambda app: (app / "data/text").chmod(0o755),
        lambda app: (app / "data/new").touch(),
        lambda app: (app / "data/text").unlink(),
        lambda app: (app / "data/text").rename(app / "data/texu"),
        lambda app: [(app / "link").unlink(), (app / "link").symlink_to("data/texu")],
    ],
)
def test_every_change_changes_the_key(app: Path, change: Callable[[Path], object]) -> None:
    age(app)
    before = directory(app)
    key = before.key
    change(app)
    age(app)
    assert before.current().key != key
    assert directory(app).key != key
    assert before.key == key


def test_arguments_are_part_of_the_key(app: Path) -> None:
    age(app)
    packages = [
        directory(app), directory(app, name="x"), directory(app, uid=1), directory(app, gid=1),
        directory(app, owner="keep"), directory(app, modes="keep"), directory(app, mtime=2),
        directory(app, mtime="keep"), directory(app, ignore=["x"]),
    ]  # fmt: skip
    assert len({package.key for package in packages}) == len(packages)


def test_a_directory_that_was_just_written_is_never_taken_for_known(app: Path) -> None:
    # A time of change in the future is what "just now" looks like for the whole of a tick.
    first = directory(app)
    (app / "data/text").write_text("more")
    second = directory(app)
    if not second.key.startswith("directory:once:"):
        pytest.fail("the listing took longer than a tick of the clock")
    assert second.key == second.key != second.current().key
    assert first != second


def test_what_is_no_directory(app: Path) -> None:
    with pytest.raises(ArgumentTypeError, match="not a directory") as caught:
        directory(app / "data/text")
    assert "text_file" in str(caught.value)
    with pytest.raises(ArgumentTypeError, match="No such file") as caught:
        directory(app / "missing")
    assert os.getcwd() in str(caught.value)
    with pytest.raises(ArgumentTypeError):
        directory(app / "nowhere")
    for wrong in (None, 3, ["x"]):
        with pytest.raises(ArgumentTypeError, match="path"):
            directory(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "arguments",
    [
        {"owner": "me"}, {"modes": "0755"}, {"uid": -1}, {"gid": "0"}, {"uid": True},
        {"mtime": "now"}, {"mtime": -1}, {"mtime": 1.5}, {"ignore": ".git"}, {"ignore": [""]},
        {"ignore": ["/"]}, {"ignore": [1]}, {"ignore": 3},
    ],
)  # fmt: skip
def test_arguments_that_are_refused(app: Path, arguments: dict[str, object]) -> None:
    (name,) = arguments
    with pytest.raises(ArgumentTypeError, match=name) as caught:
        directory(app, **arguments)  # type: ignore[arg-type]
    assert caught.value.argument == name


def test_a_directory_that_vanishes(app: Path) -> None:
    package = directory(app)
    moved = app.rename(app.with_name("moved"))
    with pytest.raises(ArgumentTypeError, match="app"):
        _ = package.key
    package = directory(moved)
    assert package.key
    (moved / "data/text").unlink()
    with pytest.raises((NbdockError, OSError)):
        as_tar(package)


def test_a_file_that_changes_while_it_is_read(app: Path) -> None:
    package = directory(app)
    assert package.size_bytes == 14
    (app / "data/text").write_text("longer than before")
    with pytest.raises(SizeMismatchError, match="text"):
        as_tar(package)


def test_an_unreadable_directory() -> None:
    with tempfile.TemporaryDirectory() as place:
        os.chmod(place, 0o755)
        (Path(place) / "secret").mkdir(mode=0)
        package = directory(place)
        is_root = os.geteuid() == 0
        if is_root:
            os.seteuid(65534)
        try:
            with pytest.raises(NbdockError, match="secret") as caught:
                _ = package.key
        finally:
            if is_root:
                os.seteuid(0)
        assert caught.value.hint


def test_a_socket_is_named_and_can_be_left_out(app: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        here = os.getcwd()
        os.chdir(app)
        try:
            server.bind("control.sock")
        finally:
            os.chdir(here)
        with pytest.raises(ArgumentTypeError, match=r"control\.sock") as caught:
            _ = directory(app).key
        assert "ignore" in str(caught.value)
        assert "control.sock" not in listing(directory(app, ignore=["*.sock"]))


def test_devices_and_pipes_stay_what_they_are(app: Path) -> None:
    os.mkfifo(app / "pipe", 0o600)
    (entry,) = [e for e in directory(app).entries() if e.path == b"pipe"]
    assert (entry.kind, entry.mode) == (EntryKind.FIFO, 0o644)


def test_what_is_ignored_does_not_depend_on_the_locale(app: Path) -> None:
    (app / "é1").write_text("x")
    program = (
        "import sys; from nbdock.packages import directory; "
        "entries = directory(sys.argv[1], ignore=['\\xe9?']).entries(); "
        "print(any(b'\\xc3' in entry.path for entry in entries))"
    )
    old = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    said = subprocess.run(
        [sys.executable, "-c", program, str(app)], env={**os.environ, **old},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert said.stdout == "False\n"
