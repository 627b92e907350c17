"""The flags in the line of a build magic."""

from __future__ import annotations

import pytest
from IPython.core.error import UsageError

from nbdock.notebook.flags import BuildFlags, flag_names, parse_flags


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
