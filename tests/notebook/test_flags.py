"""The flags in the line of a build magic."""

from __future__ import annotations

import pytest
from IPython.core.error import UsageError

from nbdock.notebook.flags import (
    BuildFlags,
    PrefetchFlags,
    flag_names,
    parse_flags,
    parse_prefetch,
)


def test_no_flags() -> None:
    assert parse_flags("buildImage", "") == BuildFlags()


@pytest.mark.parametrize(
    ("line", "flags"),
    [
        ("-o redis", BuildFlags(output="redis")),
        ("--output redis", BuildFlags(output="redis")),
        ("-oredis", BuildFlags(output="redis")),
        ("--dry-run", BuildFlags(dry_run=True)),
        ("--save redis.tar.gz", BuildFlags(save="redis.tar.gz")),
        ('--save "my images/redis 1.tar"', BuildFlags(save="my images/redis 1.tar")),
        ("--save 'a b.tar'", BuildFlags(save="a b.tar")),
        ("--save=a\\ b.tar", BuildFlags(save="a b.tar")),
        ("--load", BuildFlags(load=True)),
        ("--push localhost:5000/x:1", BuildFlags(push="localhost:5000/x:1")),
        ("--background", BuildFlags(background=True)),
        (
            "--load -o größe --save x.tar --background",
            BuildFlags(output="größe", save="x.tar", load=True, background=True),
        ),
    ],
)
def test_each_flag(line: str, flags: BuildFlags) -> None:
    assert parse_flags("buildImage", line) == flags


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--dryrun", "%%buildImage has no flag '--dryrun'. Did you mean --dry-run?"),
        ("--lod", "Did you mean --load?"),
        ("--sav x", "Did you mean --save?"),
        ("--dry", "no flag '--dry'"),  # no abbreviations: a later flag could make them ambiguous
        ("--xyzzy", "Flags: -o, --output, --dry-run"),
        ("redis", "To bind the result to a name, write -o redis."),
        ("-o", "%%buildImage: argument -o/--output: expected one argument"),
        ("-o 1redis", "'1redis' is not a name that Python can bind"),
        ("-o redis-server", "'redis-server' is not a name"),
        ("-o class", "'class' is not a name"),
        ("-o ''", "'' is not a name"),
        ("--save ''", "--save is empty"),
        ("--push ' '", "--push is empty"),
        ("--push UP", "Write 'up'"),
        ("--load=yes", "ignored explicit argument"),
        ("--save 'x.tar", "no closing quotation"),
        ("--dry-run --save x", "--dry-run builds nothing to save, load or push"),
        ("--dry-run --load", "--dry-run builds nothing"),
        ("--dry-run --push x", "--dry-run builds nothing"),
    ],
)
def test_what_is_wrong_is_said(line: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_flags("buildImage", line)
    assert message in str(caught.value)
    assert str(caught.value).startswith("%%buildImage")


def test_the_flags_are_listed() -> None:
    assert flag_names() == [
        "-o", "--output", "--dry-run", "--save", "--load", "--push", "--background",
    ]  # fmt: skip


def test_flags_that_a_magic_cannot_have() -> None:
    assert "--dry-run" not in flag_names("pullImage")
    assert "--push" in flag_names("pullImage")
    assert "--push" not in flag_names("mergeImages")
    with pytest.raises(UsageError, match="%%pullImage has no flag '--dry-run'"):
        parse_flags("pullImage", "--dry-run")


@pytest.mark.parametrize(
    ("line", "flags"),
    [
        ("mysql:8", PrefetchFlags({"image_name": "mysql:8"})),
        ("mysql:8 -o pin", PrefetchFlags({"image_name": "mysql:8"}, "pin")),
        (
            "--image-name mysql --image-tag 8 --arch x86_64 --os linux",
            PrefetchFlags({"image_name": "mysql", "image_tag": "8", "arch": "x86_64",
                           "os": "linux"}),
        ),
        (
            "mysql --final-image-name eu.gcr.io/p/mysql --final-image-tag prod --variant v8",
            PrefetchFlags({"image_name": "mysql", "final_image_name": "eu.gcr.io/p/mysql",
                           "final_image_tag": "prod", "variant": "v8"}),
        ),
    ],
)  # fmt: skip
def test_the_line_of_prefetch_image(line: str, flags: PrefetchFlags) -> None:
    assert parse_prefetch(line) == flags


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "%prefetchImage takes one image, for example %prefetchImage mysql:8"),
        ("mysql --image-name redis", "takes one image"),
        ("mysql 8", "%prefetchImage has no flag '8'. It takes one image, such as mysql:8."),
        ("mysql --arc arm64", "Did you mean --arch?"),
        ("mysql --os", "%prefetchImage: argument --os: expected one argument"),
        ("mysql -o 1", "%prefetchImage -o: '1' is not a name"),
        ("'mysql", "%prefetchImage: no closing quotation"),
    ],
)
def test_a_wrong_line_of_prefetch_image(line: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_prefetch(line)
    assert message in str(caught.value)
