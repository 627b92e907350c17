"""Build the wheel and the sdist, install each where nothing of nbdock is, and use what is there.

    make packages

About half a minute with uv, which comes with the extra ``dev``; without it pip does the same.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import textwrap
from email.parser import HeaderParser
from pathlib import Path
from zipfile import ZipFile

from packaging.metadata import Metadata

HERE = Path(__file__).resolve().parent.parent
UV = shutil.which("uv", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")

INSIDE = """
    import asyncio, importlib.resources as resources, pathlib, sys
    import nbdock

    assert pathlib.Path(nbdock.__file__).is_relative_to(sys.prefix), nbdock.__file__
    tree = pathlib.Path("tree"); tree.mkdir(); (tree / "motd").write_text("hello")
    image = asyncio.run(nbdock.build_image("motd", tag="1", contents=nbdock.directory(tree)))
    assert list(nbdock.file_table(image).path) == ["/motd"]
    own = {file.name for file in resources.files("nbdock.notebook.explore").iterdir()}
    assert {"base.js", "base.css", "image.js", "image.css"} <= own, own
    assert "text/html" in nbdock.explore(image)._repr_mimebundle_()
    from nbdock.notebook.explore.frontend import view_class
    assert view_class("image")._esm and view_class("image")._css
    print(image.digest)
"""

TYPED = """
    import nbdock

    async def main() -> None:
        image = await nbdock.build_layered_image("x", contents=nbdock.text_file("a", "b"))
        reveal_type(image)
        nbdock.layer_table(image).sort_values('size_bytes')
        nbdock.configure(workers=2)
        await nbdock.build_image("x", contnts=[])
"""


def main() -> None:
    """Check both; the first thing that is wrong ends it."""
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        build(place / "dist")
        (wheel,) = (place / "dist").glob("*.whl")
        (sdist,) = (place / "dist").glob("*.tar.gz")
        check_metadata(wheel)
        check_contents(sdist)
        digests = {check_installed(package, place / package.suffix) for package in (wheel, sdist)}
        assert len(digests) == 1, digests
    print("wheel and sdist: built, installed apart, used")


def build(place: Path) -> None:
    """Both: the wheel from the sdist, as those do who have only that."""
    with_pip = [sys.executable, "-m", "build", "--outdir", str(place)]
    run([UV, "build", "--quiet", "--out-dir", str(place)] if UV else with_pip, cwd=HERE)


def check_metadata(wheel: Path) -> None:
    """What an index would refuse."""
    with ZipFile(wheel) as file:
        names = file.namelist()
        (name,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        text = file.read(name)
    metadata = Metadata.from_email(text, validate=True)
    assert metadata.license_expression == "Apache-2.0", metadata.license_expression
    assert HeaderParser().parsestr(text.decode())["Description-Content-Type"] == "text/markdown"
    assert "nbdock/py.typed" in names
    strays = [n for n in names if not n.startswith((f"nbdock-{metadata.version}.", "nbdock/"))]
    assert not strays, strays


def check_contents(sdist: Path) -> None:
    """All that is in the repository is in the sdist: tests, lessons and documentation too."""
    with tarfile.open(sdist) as file:
        names = {name.partition("/")[2] for name in file.getnames()}
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=HERE, capture_output=True)
    if tracked.returncode == 0:
        # Not what somebody has just removed and not committed yet.
        paths = {path for path in tracked.stdout.decode().split("\0") if (HERE / path).is_file()}
        assert paths <= names, sorted(paths - names)


def check_installed(package: Path, place: Path) -> str:
    """Use a package where nothing else of nbdock is; the digest of what it built."""
    python = place / "venv" / "bin" / "python"
    if UV:
        run([UV, "venv", "--quiet", "--python", sys.executable, str(place / "venv")])
        installer = [UV, "pip", "install", "--quiet", "--python", str(python)]
    else:
        run([sys.executable, "-m", "venv", str(place / "venv")])
        installer = [str(python), "-m", "pip", "install", "--quiet"]
    run([*installer, f"{package}[widgets]"])
    work = place / "work"
    work.mkdir()
    env = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    env |= {"NBDOCK_HOME": str(place / "home"), "PATH": f"{python.parent}:{env['PATH']}"}

    digest = run([str(python), "-c", textwrap.dedent(INSIDE)], cwd=work, env=env).split()[-1]
    version = run(
        [str(python), "-c", "import nbdock; print(nbdock.__version__)"], cwd=work, env=env
    )
    assert run(["nbdock", "--version"], cwd=work, env=env) == f"nbdock, version {version}"
    assert run(["nbdock", "layers", "motd:1"], cwd=work, env=env).startswith("Layers\n1 row\n")
    listed = run(["jupyter", "labextension", "list"], cwd=work, env=env)
    assert any("nbdock" in line and "OK" in line for line in listed.splitlines()), listed
    (work / "user.py").write_text(textwrap.dedent(TYPED))
    mypy = [sys.executable, "-m", "mypy", "--python-executable", str(python), "user.py"]
    typed = run(mypy, cwd=work, env=env, code=1)
    assert 'Revealed type is "nbdock.images.image.Image"' in typed, typed
    assert 'Unexpected keyword argument "contnts"' in typed, typed
    assert "Found 1 error in 1 file" in typed, typed
    return digest


def run(
    command: list[str], *, cwd: Path | None = None, env: dict[str, str] | None = None, code: int = 0
) -> str:
    """What a command says."""
    done = subprocess.run(
        command, cwd=cwd, env=env, text=True, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    if done.returncode != code:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


if __name__ == "__main__":
    main()
