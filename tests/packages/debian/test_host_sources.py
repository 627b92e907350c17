"""This machine's own package sources: the same packages as APT sees."""

from __future__ import annotations

import glob
import hashlib
import os
import random
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from nbdock.errors import SignatureError
from nbdock.packages.debian import releasestore
from nbdock.packages.debian.fetching import deb_path, fetch_debs
from nbdock.packages.debian.index import AptIndex, load_index
from nbdock.packages.debian.release import Release
from nbdock.packages.debian.signatures import read_keys, signed_part, verify_clearsigned
from nbdock.packages.debian.sources import host_sources

AptCache = Callable[..., str]
POPULAR = ("bash", "libc6", "redis-server", "python3", "perl-base", "hello", "mawk", "dpkg")


@pytest.fixture
async def index(apt_home: Path) -> AptIndex:
    return await load_index(host_sources())


@pytest.fixture
def lists(index: AptIndex, tmp_path: Path) -> Path:
    """A directory in which APT's tools find the lists that we see."""
    ours = set()
    for path in glob.glob(os.path.join(releasestore.apt_home(), "*.release")):
        text = Path(path).read_bytes().partition(b"\n")[2]
        ours.add(hashlib.sha256(text).hexdigest())
    theirs = set()
    for path in glob.glob("/var/lib/apt/lists/*InRelease"):
        text = signed_part(Path(path).read_bytes()) or b""
        theirs.add(hashlib.sha256(text).hexdigest())
    if ours and ours <= theirs:
        return Path("/var/lib/apt/lists")
    own = tmp_path / "lists"
    (own / "partial").mkdir(parents=True)
    options = ["-o", f"Dir::State::lists={own}", "-o", "APT::Sandbox::User=root"]
    subprocess.run(["apt-get", *options, "update"], check=True, capture_output=True)
    return own


@pytest.fixture
def apt_cache(lists: Path, tmp_path_factory: pytest.TempPathFactory) -> AptCache:
    """Calls apt-cache, as on a machine with no package installed."""
    cache = tmp_path_factory.getbasetemp() / "apt-cache"
    cache.mkdir(exist_ok=True)
    options = {
        "Dir::State::lists": lists, "Dir::State::status": "/dev/null",
        "Dir::Cache::pkgcache": cache / "pkgcache.bin",
        "Dir::Cache::srcpkgcache": cache / "srcpkgcache.bin",
    }  # fmt: skip

    def call(*arguments: str) -> str:
        given = [word for pair in options.items() for word in ("-o", f"{pair[0]}={pair[1]}")]
        command = ["apt-cache", *given, *arguments]
        return subprocess.run(command, check=True, capture_output=True).stdout.decode()

    return call


def stanzas(text: str) -> list[dict[str, str]]:
    found = []
    for stanza in text.strip().split("\n\n"):
        fields = re.findall(r"(?m)^([A-Za-z0-9-]+): ?(.*(?:\n[ \t].*)*)", stanza)
        found.append({name: " ".join(value.split()) for name, value in fields})
    return found


async def test_records_are_what_apt_shows(index: AptIndex, apt_cache: AptCache) -> None:
    names = random.Random(7).sample(list(index.names()), 200)
    names += [name for name in POPULAR if name not in names]
    out = apt_cache("show", "--all-versions", *names)
    theirs = {(f["Package"], f["Version"], f["Architecture"], f["SHA256"]): f for f in stanzas(out)}
    mine = {
        (r.name, r.version, r.architecture, r.sha256): r
        for name in names
        for r in index.candidates(name)
    }
    assert set(mine) == set(theirs)
    for key, record in mine.items():
        fields = theirs[key]
        for title in ("Depends", "Pre-Depends", "Recommends", "Conflicts", "Breaks", "Provides",
                      "Replaces", "Priority", "Section"):  # fmt: skip
            assert getattr(record, title.lower().replace("-", "_")) == fields.get(title, "")
        assert record.multi_arch == fields.get("Multi-Arch", "no")
        assert record.essential is (fields.get("Essential") == "yes")
        assert str(record.installed_size_kib) == fields.get("Installed-Size", "0")
        assert str(record.size_bytes) == fields["Size"]
        assert record.source == fields.get("Source", record.name).partition(" ")[0]
        assert record.url.endswith(fields["Filename"].rpartition("/")[2].replace("%", "%25"))


async def test_priorities_and_versions_are_those_of_policy(
    index: AptIndex, apt_cache: AptCache
) -> None:
    names = random.Random(8).sample(list(index.names()), 100) + list(POPULAR)
    out = apt_cache("policy", *names)
    theirs: dict[str, set[tuple[str, int]]] = {}
    name = ""
    for line in out.splitlines():
        if match := re.fullmatch(r"(\S+):", line):
            name = match[1]
        elif match := re.fullmatch(r" {5}(\S+) (-?\d+)", line):
            theirs.setdefault(name, set()).add((match[1], int(match[2])))
    for name in names:
        mine = {(r.version, r.pin_priority) for r in index.candidates(name)}
        assert mine == theirs[name]


async def test_names_and_providers_are_complete(index: AptIndex, apt_cache: AptCache) -> None:
    out = apt_cache("pkgnames")
    known = set(out.split())
    assert set(index.names()) <= known
    # pkgnames shows virtual names too; whatever is only there must not be a package.
    assert not any(index.candidates(name) for name in known - set(index.names()))
    wanted = "mail-transport-agent"
    out = apt_cache("showpkg", wanted)
    reverse = out.partition("Reverse Provides: \n")[2]
    theirs = {tuple(line.split()[:2]) for line in reverse.splitlines()}
    mine = {(r.name, r.version) for r in index.providers(wanted)}
    assert mine == theirs


async def test_a_second_load_reads_no_text(index: AptIndex) -> None:
    indexes = glob.glob(f"{releasestore.apt_home()}/indexes/*")
    before = {path: os.stat(path).st_mtime_ns for path in indexes}
    again = await load_index(host_sources())
    assert again.fingerprint == index.fingerprint
    assert before
    after = {path: os.stat(path).st_mtime_ns for path in indexes}
    assert after == before


async def test_packages_are_fetched(index: AptIndex) -> None:
    [record, *_] = index.candidates("hello")
    await fetch_debs([record])
    out = subprocess.run(
        ["dpkg-deb", "--field", deb_path(record), "Package", "Version"],
        check=True, capture_output=True,
    ).stdout.decode()  # fmt: skip
    assert out.split() == ["Package:", "hello", "Version:", record.version]


def test_the_real_signatures(lists: Path) -> None:
    """What APT accepted, Sequoia accepts, with the same text; one byte more, and neither does."""
    paths = sorted(lists.glob("*InRelease"))
    assert paths
    configured = host_sources()
    keyrings = {one for source in configured.sources for one in source.signed_by}
    keyrings |= set(configured.keyrings)
    keys = [key for ring in keyrings for key in read_keys(Path(ring).read_bytes(), ring)]
    for path in paths:
        data = path.read_bytes()
        found = verify_clearsigned(data, keys)
        assert found.signers
        assert found.text == signed_part(data)
        assert len(Release.parse(found.text).digests) > 50
        with pytest.raises(SignatureError, match="No signature is valid"):
            verify_clearsigned(data.replace(b"SHA256:\n", b"SHA256:\n ", 1), keys)
