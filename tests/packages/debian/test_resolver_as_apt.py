"""``alternatives="apt"`` against apt-get itself: on popular packages, and on random archives.

The first uses the package indexes that apt-get has on this machine (it fetches its own when there
are none), so both sides look at the same archive.
"""

from __future__ import annotations

import fcntl
import os
import pickle
import random
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import unquote

import pytest
from support.apt_index import MemoryIndex, host_lists, host_records

from nbdock.packages.debian.catalogue import Catalogue
from nbdock.packages.debian.resolver import resolve
from nbdock.packages.debian.versions import version_key

# In bunches of ten, so that they spread over the test workers.
POPULAR = """
redis-server python3 nginx postgresql git curl openssh-client vim php-cli ruby
nodejs default-jre-headless gcc build-essential ffmpeg apache2 mariadb-server perl wget rsync
tmux jq htop openssh-server cargo cmake make nano gnupg ca-certificates
haproxy memcached rabbitmq-server sqlite3 python3-numpy imagemagick graphviz postfix exim4 bind9
squid zsh fish systemd dbus lua5.4 gdb tcpdump nmap lighttpd
"""
BUNCHES = [line.split() for line in POPULAR.strip().splitlines()]


class Host:
    """What apt-get knows on this machine, seen from an empty system."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._options = [
            f"-oDir::State::status={folder}/status",
            f"-oDir::Cache::archives={folder}/archives/",
            f"-oDir::Cache::pkgcache={folder}/pkgcache.bin",
            f"-oDir::Cache::srcpkgcache={folder}/srcpkgcache.bin",
            "-oDir::Etc::preferences=/dev/null", "-oDir::Etc::preferencesparts=/dev/null",
        ]  # fmt: skip

    def prepare(self) -> None:
        (self.folder / "archives" / "partial").mkdir(parents=True)
        (self.folder / "status").touch()
        lists = host_lists()
        if not lists:
            own = self.folder / "lists"
            (own / "partial").mkdir(parents=True)
            self._options += [f"-oDir::State::lists={own}", "-oAPT::Sandbox::User="]
            subprocess.run(["apt-get", *self._options, "-qq", "update"], check=True)
            lists = host_lists(*self._options)
        records = host_records(lists)
        with open(self.folder / "records", "wb") as file:
            pickle.dump((self._options, records), file)
        self.installs("tini")  # apt-get builds its cache once, for all that follow

    def open(self) -> MemoryIndex:
        with open(self.folder / "records", "rb") as file:
            self._options, records = pickle.load(file)
        return MemoryIndex(records)

    def installs(self, name: str, *options: str, simulate: bool = False) -> set[str]:
        """What apt-get would install, as ``name=version``.

        Its list of what to fetch is the solver's answer; simulating the installation as well
        takes three times as long and says the same.
        """
        how = "-s" if simulate else "--print-uris"
        answer = subprocess.run(
            ["apt-get", *self._options, "-qq", "-y", how, *options, "install", name],
            capture_output=True, text=True, check=True, env={**os.environ, "LC_ALL": "C"},
        )  # fmt: skip
        lines = [line.split() for line in answer.stdout.splitlines()]
        if simulate:
            return {f"{w[1]}={w[2].lstrip('(')}" for w in lines if w[:1] == ["Inst"]}
        files = [w[1].rsplit("_", 2) for w in lines if w and w[0].startswith("'")]
        return {f"{package}={unquote(version)}" for package, version, _ in files}


@pytest.fixture(scope="session")
def host(tmp_path_factory: pytest.TempPathFactory) -> Host:
    """One preparation for all test workers; the first does it."""
    shared = tmp_path_factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        shared = shared.parent
    folder = shared / "apt-oracle"
    folder.mkdir(exist_ok=True)
    found = Host(folder)
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "ready").exists():
            found.prepare()
            (folder / "ready").touch()
    return found


@pytest.fixture(scope="session")
def host_index(host: Host) -> MemoryIndex:
    return host.open()


def ours(index: MemoryIndex, name: str, **options: bool) -> set[str]:
    root = max(index.candidates(name), key=lambda r: version_key(r.version))
    found = resolve(index, [root], alternatives="apt", **options)
    return {f"{r.name}={r.version}" for r in found.records}


@pytest.mark.parametrize("bunch", BUNCHES, ids=lambda names: names[0])
def test_popular_packages_install_what_apt_get_installs(
    host: Host, host_index: MemoryIndex, bunch: list[str]
) -> None:
    with ThreadPoolExecutor(2) as threads:
        answers = threads.map(lambda n: host.installs(n, "--no-install-recommends"), bunch)
        for name, theirs in zip(bunch, answers, strict=True):
            assert ours(host_index, name) == theirs, name


def test_recommends_install_what_apt_get_installs(host: Host, host_index: MemoryIndex) -> None:
    for name in ("redis-server", "git"):
        theirs = host.installs(name, "--install-recommends")
        assert ours(host_index, name, recommends=True) == theirs, name


def test_what_is_listed_is_what_is_simulated(host: Host) -> None:
    """The oracle's two forms agree."""
    for name in ("jq", "rsync"):
        listed = host.installs(name, "--no-install-recommends")
        assert host.installs(name, "--no-install-recommends", simulate=True) == listed


def test_the_smallest_choice_is_never_larger_than_apts(host_index: MemoryIndex) -> None:
    """And for redis-server much smaller: usr-is-merged, not usrmerge with all of perl."""
    for name in [n for bunch in BUNCHES for n in bunch]:
        root = max(host_index.candidates(name), key=lambda r: version_key(r.version))
        small = resolve(host_index, [root])
        apts = resolve(host_index, [root], alternatives="apt")
        sizes = [sum(r.installed_size_kib for r in found.records) for found in (small, apts)]
        assert sizes[0] <= sizes[1], name
        if name == "redis-server":
            names = {r.name for r in small.records}
            assert "usr-is-merged" in names
            assert "usrmerge" not in names
            assert "libsystemd0" in names
            assert sizes[0] < 0.6 * sizes[1]


# Random archives

NAMES = "abcdefghij"


def random_archive(seed: int, *, recommends: bool) -> str:
    """A Packages file with versions, alternatives, priorities, essential and virtual packages."""
    rng = random.Random(seed)

    def relation(own: str) -> str:
        name = rng.choice([c for c in NAMES + "vw" if c != own])
        if rng.random() < 0.3:
            return f"{name} ({rng.choice(['>=', '<=', '=', '<<', '>>'])} {rng.choice('123')})"
        return name

    def field(own: str, *parts: int) -> str:
        return ", ".join(
            " | ".join(relation(own) for _ in range(rng.choice([1, 1, 2, 3])))
            for _ in range(rng.choice(parts))
        )

    # APT's last resort is the order in which it met the names: the first stanza sets it.
    first = f"Package: aaa\nVersion: 1\nArchitecture: all\nSuggests: {', '.join(NAMES)}\n"
    stanzas = [first + f"Filename: ./aaa.deb\nSize: 1\nSHA256: {0:064}\nDescription: first"]
    for name in NAMES:
        for version in sorted(rng.sample("123", rng.choice([1, 1, 2]))):
            provided = [
                v + (f" (= {rng.choice('123')})" if rng.random() < 0.5 else "")
                for v in "vw"
                if rng.random() < 0.2
            ]
            if rng.random() < 0.1:
                provided.append(f"{rng.choice(NAMES)} (= 2)")
            fields = {
                "Package": name, "Version": version, "Architecture": "amd64",
                "Filename": f"./{name}_{version}_amd64.deb", "Size": "100", "SHA256": f"{0:064}",
                "Priority": rng.choice(["optional"] * 3 + ["required", "important", "extra"]),
                "Essential": "yes" if rng.random() < 0.1 else "",
                "Depends": field(name, 0, 0, 1, 1, 2, 3),
                "Recommends": field(name, 0, 0, 1, 2) if recommends else "",
                "Provides": ", ".join(provided),
                "Description": "random",
            }  # fmt: skip
            stanzas.append("\n".join(f"{k}: {v}" for k, v in fields.items() if v))
    return "\n\n".join(stanzas) + "\n"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """An apt-get that knows nothing but one folder; returns the folder."""
    for folder in ("lists/partial", "cache/archives/partial", "archive"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "status").touch()
    (tmp_path / "sources.list").write_text(f"deb [trusted=yes] file:{tmp_path}/archive ./\n")
    settings = {
        "Dir::State": "state", "Dir::State::status": "status", "Dir::State::lists": "lists",
        "Dir::Cache": "cache", "Dir::Etc::sourcelist": "sources.list",
    }  # fmt: skip
    lines = [f'{key} "{tmp_path}/{value}";' for key, value in settings.items()]
    nothing = ("sourceparts", "preferences", "preferencesparts", "parts")
    lines += [f'Dir::Etc::{key} "/dev/null";' for key in nothing]
    lines += ['Dir::Cache::pkgcache "";', 'Dir::Cache::srcpkgcache "";', 'APT::Sandbox::User "";']
    lines += ['APT::Architecture "amd64";', 'APT::Architectures { "amd64"; };']
    (tmp_path / "apt.conf").write_text("\n".join(lines) + "\n")
    return tmp_path


@pytest.mark.parametrize("recommends", [False, True])
@pytest.mark.parametrize("block", range(2))
def test_random_archives_install_what_apt_get_installs(
    archive: Path, block: int, recommends: bool
) -> None:
    environment = {**os.environ, "APT_CONFIG": f"{archive}/apt.conf", "LC_ALL": "C"}

    def apt_get(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["apt-get", *arguments], capture_output=True, text=True, env=environment
        )

    solved = 0
    for seed in range(block * 8, block * 8 + 8):
        text = random_archive(seed, recommends=recommends)
        (archive / "archive" / "Packages").write_text(text)
        for old in (archive / "lists").glob("*Packages*"):
            old.unlink()
        updated = apt_get("update")
        assert updated.returncode == 0, updated.stderr
        index = MemoryIndex(text)
        catalogue = Catalogue(index, architecture="amd64")
        for name in "abc":
            wanted = "--install-recommends" if recommends else "--no-install-recommends"
            answer = apt_get("-qq", "-s", wanted, "install", name)
            lines = [line.split() for line in answer.stdout.splitlines()]
            theirs = {f"{w[1]}={w[2].lstrip('(')}" for w in lines if w[0] == "Inst"}
            root = catalogue.candidate(name)
            assert root is not None
            if answer.returncode:
                assert "held broken packages" in answer.stderr
                continue
            found = resolve(index, [root.record], alternatives="apt", recommends=recommends)
            assert {f"{r.name}={r.version}" for r in found.records} == theirs, (seed, name)
            solved += 1
    assert solved > 8
