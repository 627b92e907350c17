"""A package index in memory, written as a Packages file has it."""

from __future__ import annotations

import hashlib
import random
import subprocess
from collections.abc import Iterable
from pathlib import Path

from nbdock.packages.debian.record import PackageRecord
from nbdock.packages.debian.relations import parse_relations


def records_of(text: str) -> list[PackageRecord]:
    """The stanzas of a Packages file; what a stanza does not say has a plain default."""
    found = []
    for stanza in text.split("\n\n"):
        fields: dict[str, str] = {}
        key = ""
        for line in stanza.splitlines():
            if line[:1].isspace():
                fields[key] += "\n" + line
            elif line:
                key, _, value = line.partition(":")
                key = key.lower()
                fields[key] = value.strip()
        if not fields.get("package"):
            continue
        name, version = fields["package"], fields.get("version", "1")
        digest = hashlib.sha256(f"{name} {version}".encode()).hexdigest()
        found.append(
            PackageRecord(
                name=name,
                version=version,
                architecture=fields.get("architecture", "amd64"),
                multi_arch=fields.get("multi-arch", "no"),
                essential=fields.get("essential") == "yes",
                priority=fields.get("priority", "optional"),
                depends=fields.get("depends", ""),
                pre_depends=fields.get("pre-depends", ""),
                recommends=fields.get("recommends", ""),
                conflicts=fields.get("conflicts", ""),
                breaks=fields.get("breaks", ""),
                provides=fields.get("provides", ""),
                replaces=fields.get("replaces", ""),
                installed_size_kib=int(fields.get("installed-size", "10")),
                size_bytes=int(fields.get("size", "1000")),
                sha256=fields.get("sha256", digest),
                url=f"http://deb.example.org/{fields.get('filename', name)}",
                source=fields.get("source", name),
                section=fields.get("section", "misc"),
                description=fields.get("description", "").partition("\n")[0],
                pin_priority=int(fields.get("pin-priority", "500")),
            )
        )
    return found


class MemoryIndex:
    """An index of records, in an order of its own."""

    architecture = "amd64"
    codenames: frozenset[str] = frozenset()
    made_s: float | None = None

    def __init__(self, records: Iterable[PackageRecord] | str, fingerprint: str = "memory") -> None:
        self.records = records_of(records) if isinstance(records, str) else list(records)
        self.fingerprint = fingerprint
        self._by_name: dict[str, list[PackageRecord]] = {}
        self._by_provided: dict[str, list[PackageRecord]] = {}
        for record in self.records:
            self._by_name.setdefault(record.name, []).append(record)
            for group in parse_relations(record.provides):
                for relation in group.relations:
                    self._by_provided.setdefault(relation.name, []).append(record)

    def names(self) -> tuple[str, ...]:
        return tuple(self._by_name)

    def candidates(self, name: str) -> tuple[PackageRecord, ...]:
        return tuple(self._by_name.get(name, ()))

    def providers(self, virtual: str) -> tuple[PackageRecord, ...]:
        return tuple(self._by_provided.get(virtual, ()))

    def mentioning(self, words: Iterable[str]) -> list[str]:
        return [
            r.name for r in self.records
            if all(word in f"{r.name} {r.description}".lower() for word in words)
        ]  # fmt: skip

    def shuffled(self, seed: int) -> MemoryIndex:
        """The same index in another order."""
        records = self.records.copy()
        random.Random(seed).shuffle(records)
        return MemoryIndex(records)

    def newest(self, name: str) -> PackageRecord:
        (record,) = self.candidates(name)
        return record


def host_lists(*options: str) -> list[str]:
    """The package indexes that apt-get has here."""
    answer = subprocess.run(
        ["apt-get", *options, "indextargets", "--format", "$(FILENAME)", "Created-By: Packages"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [path for path in answer.stdout.split("\n") if path and Path(path).exists()]


def host_records(lists: Iterable[str]) -> list[PackageRecord]:
    """What is in them, whatever they are compressed with."""
    found: list[PackageRecord] = []
    for path in lists:
        text = subprocess.run(
            ["/usr/lib/apt/apt-helper", "cat-file", path], capture_output=True, check=True
        ).stdout.decode()
        found += records_of(text)
    return found
