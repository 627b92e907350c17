"""`package_table` of images from elsewhere, against the package managers themselves."""

from __future__ import annotations

import importlib.metadata
import os
import sqlite3
import subprocess
from pathlib import Path

import pytest
from support.components import require
from support.layers import directory, file, make_image, symlink, tar, whiteout

import nbdock
from nbdock import concurrency
from nbdock.tables import records


def rows(image, manager: str) -> dict[str, tuple[str, int]]:
    table = nbdock.package_table(image)
    mine = table[table.manager == manager]
    return {str(name): (row.version, row.size_bytes) for name, row in mine.iterrows()}


def test_dpkg_against_dpkg_query(nbdock_home, tmp_path) -> None:
    status = Path("/var/lib/dpkg/status").read_bytes()
    place = tmp_path / "admin"
    (place / "info").mkdir(parents=True)
    (place / "updates").mkdir()
    (place / "status").write_bytes(status)
    asked = "${Package}\t${Version}\t${Installed-Size}\t${db:Status-Status}\n"
    listed = subprocess.run(
        ["dpkg-query", f"--admindir={place}", "-W", "-f", asked],
        capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    split = [line.split("\t") for line in listed]
    expected = {p: (v, 1024 * int(s or 0)) for p, v, s, state in split if state == "installed"}
    image = make_image([tar([file("var/lib/dpkg/status", status)])], compressed=True, plain=False)
    assert rows(image, "dpkg") == expected
    table = nbdock.package_table(image)
    assert table.loc["libc6", "referrers"] > 20


STANZA = "Package: {}\nStatus: install ok installed\nVersion: {}\nArchitecture: amd64\n\n"


def test_layers_of_dpkg_packages(nbdock_home) -> None:
    first = STANZA.format("a", 1)
    second = first + STANZA.format("b", 1)
    third = STANZA.format("a", 2) + STANZA.format("b", 1)
    path = "var/lib/dpkg/status"
    layers = [tar([file(path, text.encode())]) for text in (first, second, third)]
    assert nbdock.package_table(make_image(layers)).layer.to_dict() == {"a": 2, "b": 1}
    gone = make_image([*layers, tar([whiteout(path)])])
    assert len(nbdock.package_table(gone)) == 0


def test_distroless_records(nbdock_home) -> None:
    layers = [
        tar([file(f"var/lib/dpkg/status.d/{name}", STANZA.format(name, 1).encode())])
        for name in "ab"
    ]
    noise = tar([file("var/lib/dpkg/status.d/a.md5sums", b"Package: x\n")])
    table = nbdock.package_table(make_image([*layers, noise]))
    assert table.layer.to_dict() == {"a": 0, "b": 1}


APK = b"""C:Q1abc=
P:musl
V:1.2.4-r2
A:x86_64
S:407278
I:667648
T:the musl c library (libc) implementation
p:so:libc.musl-x86_64.so.1=1
F:lib
R:ld-musl-x86_64.so.1
a:0:0:755

C:Q1def=
P:busybox
V:1.36.1-r5
A:x86_64
I:962560
D:so:libc.musl-x86_64.so.1 !nothing musl>=1.2
p:cmd:busybox=1.36.1-r5
F:bin
R:busybox

"""


@pytest.mark.parametrize("place", ["lib/apk/db/installed", "usr/lib/apk/db/installed"])
def test_apk(nbdock_home, place) -> None:
    image = make_image([tar([file(place, APK)])])
    assert rows(image, "apk") == {"musl": ("1.2.4-r2", 667648), "busybox": ("1.36.1-r5", 962560)}
    table = nbdock.package_table(image)
    assert table.loc["musl", "referrers"] == 1
    assert table.loc["busybox", "closure_size_bytes"] == 667648 + 962560


SPEC = """Name: {name}
Version: 1.5
Release: 2
Epoch: 3
Summary: a test
License: none
BuildArch: noarch
{requires}
%description
A test.
%install
mkdir -p %{{buildroot}}/usr/bin
head -c {size} /dev/zero > %{{buildroot}}/usr/bin/{name}
%files
/usr/bin/{name}
"""


def test_rpm_against_rpm(nbdock_home, tmp_path) -> None:
    require("rpmbuild")
    specs = {"lower": ("", 1000), "upper": ("Requires: lower\nRequires: /usr/bin/lower", 2345)}
    root = tmp_path / "root"
    for name, (requires, size) in specs.items():
        spec = tmp_path / f"{name}.spec"
        spec.write_text(SPEC.format(name=name, requires=requires, size=size))
        subprocess.run(
            ["rpmbuild", "-bb", "--define", f"_topdir {tmp_path}/build", spec],
            check=True, capture_output=True,
        )  # fmt: skip
    built = sorted((tmp_path / "build/RPMS/noarch").glob("*.rpm"))
    options = ["--root", root, "--dbpath", "/var/lib/rpm"]
    subprocess.run(
        ["rpm", *options, "-i", "--nodeps", "--justdb", *built], check=True, capture_output=True
    )
    asked = "%{NAME}\t%{EPOCH}:%{VERSION}-%{RELEASE}\t%{SIZE}\n"
    listed = subprocess.run(
        ["rpm", *options, "-qa", "--qf", asked], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    expected = {n: (v, int(s)) for n, v, s in (line.split("\t") for line in listed)}
    assert set(expected) == {"lower", "upper"}
    place = root / "var/lib/rpm/rpmdb.sqlite"
    with sqlite3.connect(place) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    for path in ("var/lib/rpm/rpmdb.sqlite", "usr/lib/sysimage/rpm/rpmdb.sqlite"):
        image = make_image([tar([file(path, place.read_bytes())])])
        assert rows(image, "rpm") == expected
        assert nbdock.package_table(image).loc["lower", "referrers"] == 1


@pytest.mark.parametrize(
    "data", [b"", b"SQLite format 3\0" + bytes(200), b"x" * 5000], ids=["empty", "zeros", "noise"]
)
def test_broken_databases_are_said_and_passed_over(nbdock_home, caplog, data) -> None:
    names = ["var/lib/rpm/rpmdb.sqlite", "nix/var/nix/db/db.sqlite"]
    store = "nix/store/" + "a" * 32 + "-hello-2.12"
    members = [*(file(name, data) for name in names), file("var/lib/rpm/Packages", b"x")]
    image = make_image([tar([*members, file(store, b"1234")])])
    table = nbdock.package_table(image)
    assert table.index.tolist() == ["hello"]
    assert "rpmdb.sqlite in layer 0 is not read" in caplog.text
    assert "an rpm before 4.16" in caplog.text


def test_a_database_that_never_ends_is_stopped(nbdock_home, tmp_path, caplog, monkeypatch) -> None:
    path = tmp_path / "db"
    with sqlite3.connect(path) as database:
        database.execute(
            "CREATE VIEW Packages AS WITH RECURSIVE n(blob) AS "
            "(SELECT 1 UNION ALL SELECT blob + 1 FROM n) SELECT blob FROM n"
        )
    database.close()
    image = make_image([tar([file("var/lib/rpm/rpmdb.sqlite", path.read_bytes())])])
    assert len(nbdock.package_table(image)) == 0
    assert "has no table Packages" in caplog.text


def test_nix_store_paths_and_what_they_need(nbdock_home, tmp_path) -> None:
    one, two = ("nix/store/" + letter * 32 for letter in "ab")
    path = tmp_path / "db.sqlite"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE ValidPaths (id INTEGER PRIMARY KEY, path TEXT)")
        database.execute("CREATE TABLE Refs (referrer INTEGER, reference INTEGER)")
        database.executemany(
            "INSERT INTO ValidPaths VALUES (?, ?)",
            [(1, f"/{one}-glibc-2.40-36"), (2, f"/{two}-hello-2.12")],
        )
        database.executemany("INSERT INTO Refs VALUES (?, ?)", [(2, 1), (1, 1)])
    database.close()
    lower = [directory(f"{one}-glibc-2.40-36"), file(f"{one}-glibc-2.40-36/lib/libc.so", b"123")]
    upper = [
        directory(f"{two}-hello-2.12"), file(f"{two}-hello-2.12/bin/hello", b"12345"),
        symlink(f"{'nix/store/' + 'c' * 32}-link", "x"),
        file("nix/store/.links/x", b"1"), file("nix/var/nix/db/db.sqlite", path.read_bytes()),
    ]  # fmt: skip
    table = nbdock.package_table(make_image([tar(lower), tar(upper)]))
    assert (table.manager == "nix").all()
    assert table.version.to_dict() == {"glibc": "2.40-36", "hello": "2.12", "link": ""}
    assert table.size_bytes.to_dict() == {"glibc": 3, "hello": 5, "link": 0}
    assert table.layer.to_dict() == {"glibc": 0, "hello": 1, "link": 1}
    assert table.loc["hello", "closure_size_bytes"] == 8


def test_python_distributions_against_importlib(nbdock_home) -> None:
    members, expected = [], {}
    for distribution in importlib.metadata.distributions():
        place = Path(str(distribution.locate_file(""))) / str(distribution._path.name)
        record = place / "RECORD"
        if not (place / "METADATA").is_file() or not record.is_file():
            continue
        name = f"usr/lib/python3/site-packages/{place.name}"
        members.append(file(f"{name}/METADATA", (place / "METADATA").read_bytes()))
        members.append(file(f"{name}/RECORD", record.read_bytes()))
        sizes = [found.size or 0 for found in distribution.files or ()]
        expected[distribution.metadata["Name"]] = (distribution.version, sum(sizes))
    assert len(expected) > 20
    image = make_image([tar(members)])
    assert rows(image, "python") == expected
    assert nbdock.package_table(image).loc["numpy", "referrers"] >= 1


def test_no_packages_give_the_same_columns(nbdock_home) -> None:
    full = nbdock.package_table(make_image([tar([file("lib/apk/db/installed", APK)])]))
    empty = nbdock.package_table(make_image([tar([file("etc/motd", b"x")])]))
    assert empty.dtypes.to_dict() == full.dtypes.to_dict()
    assert len(empty) == 0


def test_the_packages_of_a_base_are_there_too(nbdock_home, tmp_path) -> None:
    base = concurrency.run(
        nbdock.build_image("b", contents=nbdock.text_file("lib/apk/db/installed", APK.decode()))
    )
    path = concurrency.run(base.save(tmp_path / "b.tar"))
    loaded = concurrency.run(nbdock.load_image(path))
    top = nbdock.text_file("etc/motd", "hi")
    image = concurrency.run(nbdock.build_image("t", from_image=loaded, contents=top))
    table = nbdock.package_table(image)
    assert table.layer.to_dict() == {"busybox": 0, "motd": 1, "musl": 0}
    assert table.manager.to_dict() == {"busybox": "apk", "motd": "", "musl": "apk"}


def test_a_found_package_has_no_files_here(nbdock_home) -> None:
    closure, _ = records.found_packages(make_image([tar([file("lib/apk/db/installed", APK)])]))
    with pytest.raises(nbdock.errors.UnavailableError):
        closure.packages[0].entries()


def test_records_are_read_with_the_layer(nbdock_home) -> None:
    image = make_image([tar([file("lib/apk/db/installed", APK)])], compressed=True, plain=False)
    nbdock.file_table(image)
    os.unlink(image.store.path_of(image.manifest.layers[0].digest))
    assert len(nbdock.package_table(image)) == 2
