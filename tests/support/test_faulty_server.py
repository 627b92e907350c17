"""The faulty server itself, asked by curl."""

from __future__ import annotations

import asyncio
from pathlib import Path

from support.faulty_server import FaultyServer, answer, content, short


async def curl(*arguments: str) -> tuple[int, bytes]:
    process = await asyncio.create_subprocess_exec(
        "curl", "-sS", "--noproxy", "*", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    out, _ = await process.communicate()
    return process.returncode or 0, out


async def test_scripts_and_files(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"0123456789")
    async with FaultyServer() as server:
        server.serve_directory(tmp_path)
        server.script("/a", answer(503), content(b"abc"))
        server.script("/short", short(b"0123456789", 4))
        status = ("-o", "/dev/null", "-w", "%{http_code}")
        assert await curl(*status, server.url("/a")) == (0, b"503")
        assert await curl(server.url("/a")) == (0, b"abc")
        assert await curl(server.url("/file"), "-r", "3-") == (0, b"3456789")
        assert await curl(*status, server.url("/none")) == (0, b"404")
        assert await curl(server.url("/short")) == (18, b"0123")
        assert server.paths() == ["/a", "/a", "/file", "/none", "/short"]
