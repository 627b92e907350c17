"""A blob that several processes may be bringing: what one that was killed left behind."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from nbdock.content import BlobStore, landing
from nbdock.oci import Digest


async def test_a_process_that_was_killed_just_before_the_blob_had_its_name(tmp_path: Path) -> None:
    store = BlobStore(tmp_path / "home")
    data = b"whole, verified and read-only already"
    arriving = store.home / "arriving"
    arriving.mkdir(parents=True)
    whole = arriving / f"sha256-{Digest.of(data).hex}"
    whole.write_bytes(data)
    whole.chmod(0o444)
    async with landing(store, Digest.of(data), len(data)) as path:
        assert path == os.fspath(whole)
        # Who resumes writes to the part; without this only root could.
        part = Path(f"{path}.part")
        assert stat.S_IMODE(part.stat().st_mode) == 0o644
        part.rename(path)
    assert store.path_of(Digest.of(data)).read_bytes() == data
    assert os.listdir(arriving) == []
