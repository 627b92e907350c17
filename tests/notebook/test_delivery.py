"""``--save`` and ``--load``: where an image goes, and that the cell says so."""

from __future__ import annotations

import tarfile

from nbdock.errors import ArgumentTypeError, ContentError

HELLO = """
name = "hello"; tag = "delivered";
contents = [ apt.libc6 (textFile "etc/motd" "Welcome") ];
"""


def test_save_writes_an_archive_and_says_where(cells, packages, tmp_path, capsys) -> None:
    path = tmp_path / "my image.tar.gz"
    image = cells.value(f'%%buildImage --save "{path}"{HELLO}')
    assert f"Built, saved as {path} in " in capsys.readouterr().err
    with tarfile.open(path) as archive:
        assert "manifest.json" in archive.getnames()
    assert image.name == "hello"


def test_what_is_saved_beside_the_notebook_is_said_by_its_name(
    cells, packages, tmp_path, capsys, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    cells.value(f"%%buildImage --save hello.tar{HELLO}")
    assert "Built, saved as hello.tar in " in capsys.readouterr().err


def test_save_in_the_background(cells, packages, tmp_path) -> None:
    job = cells.value(f'%%buildImage --background --save "{tmp_path}/x.tar"{HELLO}')
    job.result(timeout_s=240)
    assert (tmp_path / "x.tar").is_file()


def test_a_place_that_cannot_be_written(cells, packages, tmp_path) -> None:
    (tmp_path / "file").write_text("x")
    error = cells.error(f'%%buildImage -o x --save "{tmp_path}/file/x.tar"{HELLO}')
    assert isinstance(error, (ContentError, ArgumentTypeError))
    assert "x" not in cells.names


def test_load_puts_the_image_into_an_engine(
    cells, packages, docker_engine, monkeypatch, capsys
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{docker_engine.socket}")
    image = cells.value(f"%%buildLayeredImage --load{HELLO}")
    assert "Built, loaded into the engine as hello:delivered in " in capsys.readouterr().err
    told = docker_engine("image", "inspect", "--format", "{{.Id}}", "hello:delivered")
    assert str(image.id) in str(told.stdout)


def test_where_to_save_is_looked_at_before_the_build(cells, packages) -> None:
    body = 'name = "x"; contents = [ apt.redis-tools ];'
    error = cells.error(f"%%buildLayeredImage --save /not/here/x.tar\n{body}")
    assert "There is no directory '/not/here'" in cells.rendered(error)
    assert packages.loads == 0
