"""Errors of registries point to what in the cell they are about, in a real kernel."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from support.plain_images import layer
from support.registry import Registry, docker_registry, login_config

CELL = """%%pullImage
# what is asked for
imageName = "{host}/{name}";
{rest}
"""


@pytest.fixture(scope="module")
def there(registry: Registry) -> Registry:
    one = registry.push("errors/app", "1", layers=[layer({"a": b"1"})])
    other = registry.push("errors/app", "arm", architecture="arm64")
    registry.push_index("errors/app", "both", {"linux/amd64": one, "linux/arm64": other})
    return registry


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    directory = tmp_path_factory.mktemp("locked")
    config = login_config(directory, "me", "secret")
    with docker_registry(directory, config=config, login=("me", "secret")) as running:
        yield running


def shown(kernel, cell: str) -> tuple[str, str]:
    """An error's name, and what stands below the cell."""
    messages = kernel.run(cell)
    [error] = [m["content"] for m in messages if m["msg_type"] == "error"]
    return error["ename"], re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(error["traceback"]))


MISSING = f"sha256:{'0' * 64}"
PIN = "0" * 52
CASES = [
    # What is there instead; what stands in the cell; the error; what it points to; its hint
    ("errors/nothing", 'imageTag = "1";', "RepositoryNotFoundError", "imageName = ", "said"),
    ("errors/app", 'imageTag = "2";', "ManifestNotFoundError", "imageTag = ", "tags: "),
    ("errors/app:1.0", "", "ManifestNotFoundError", "imageName = ", "Did you mean|Some of its"),
    ("errors/app", f'imageDigest = "{MISSING}";', "ManifestNotFoundError", "imageDigest = ", ""),
    ("errors/app", f'imageTag = "1"; sha256 = "{PIN}";', "DigestMismatchError", "sha256 = ", "wri"),
    ("errors/app", 'imageTag = "both"; arch = "s390x";', "PlatformNotFoundError", "arch = ", "amd"),
    ("errors/app", 'imageTag = "both"; os = "windows"; arch = "amd64";', "PlatformNotFoundError",
     "os = ", "linux/amd64"),
    ("errors/app", 'imageTag = "both"; platform = "linux/ppc64le";', "PlatformNotFoundError",
     "platform = ", "linux/arm64"),
    ("errors/app", 'imageTag = "1"; arch = "arm64";', "PlatformNotFoundError", "arch = ", "amd64"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "rest", "error", "blamed", "hint"), CASES)
def test_where_it_is(
    kernel, there: Registry, name: str, rest: str, error: str, blamed: str, hint: str
) -> None:
    cell = CELL.format(host=there.host, name=name, rest=rest)
    ename, text = shown(kernel, cell)
    assert ename == error
    first, empty, line, caret, *more = text.splitlines()
    # The caret stands below the value, and line and column say the same.
    at = caret.index("^") - 2
    assert empty == ""
    assert line[2:].startswith(blamed, at - len(blamed))
    number = 3 if blamed in rest else 2  # of the cell's own text
    assert first.endswith(f"(line {number}, column {at + 1})"), first
    assert cell.splitlines()[number] in line or "\u2026" in line
    assert re.search(hint, "\n".join(more)), text


def test_a_login_that_is_missing_and_nobody_there(kernel, locked: Registry) -> None:
    for host, error in ((locked.host, "AuthenticationError"), ("127.0.0.1:1", None)):
        ename, text = shown(kernel, CELL.format(host=host, name="private/app", rest=""))
        assert ename == (error or "ConnectionFailedError")
        assert "(line 2, column 13)" in text
        assert f'imageName = "{host}/private/app";\n' in text


def test_in_a_cell_within_another(kernel, there: Registry) -> None:
    call = f'pullImage {{ imageName = "{there.host}/no/no"; }}'
    _, text = shown(kernel, f'%%buildImage\nname = "x";\nfromImage = {call};')
    assert text.startswith(f"RepositoryNotFoundError: There is no {there.host}/no/no in ")
    assert "(line 2, column 13)" in text


def test_a_line_magic_names_its_flag(kernel, there: Registry) -> None:
    ename, text = shown(kernel, f"%prefetchImage {there.host}/errors/app:7")
    assert ename == "ManifestNotFoundError"
    assert f"There is no {there.host}/errors/app:7 in the registry." in text
