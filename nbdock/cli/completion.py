"""Completion of commands, options, files and the names of images, in bash, zsh and fish.

    eval "$(nbdock completion bash)"

The scripts are click's, but for bash: it takes a colon for the end of a word, and the names of
images have one. What a shell asks at each press of Tab must be quick, so nothing is imported here
that reads images.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    add_completion_class,
    get_completion_class,
    split_arg_string,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ImageName", "completion", "image_names"]

_REF_NAME = "org.opencontainers.image.ref.name"

_BASH = r"""%(complete_func)s() {
    local type value word line="${COMP_LINE:0:COMP_POINT}" before="" files=()
    # What is to be completed, and how much of it bash takes for a word that is finished.
    word="${line##*[[:space:]]}"
    if [[ $COMP_WORDBREAKS == *:* && $word == *:* ]]; then before="${word%%"${word##*:}"}"; fi
    COMPREPLY=()
    while IFS=',' read -r type value; do
        case $type in
            plain) COMPREPLY+=("${value#"$before"}") ;;
            dir) type=directory ;&
            *) [[ $before ]] || mapfile -t files < <(compgen -A "$type" -- "$word") ;;
        esac
    done < <(NBDOCK_LINE="$line" %(complete_var)s=bash_complete "$1" 2>/dev/null)
    # Names of images are not to be quoted as those of files are.
    ((${#COMPREPLY[@]})) || compopt -o filenames
    COMPREPLY+=("${files[@]}")
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""


class _Bash(BashComplete):
    """Bash, whose words end at blanks, as those of a command line do."""

    source_template = _BASH

    def get_completion_args(self) -> tuple[list[str], str]:
        line = os.environ["NBDOCK_LINE"]
        words = split_arg_string(line)[1:]
        return (words, "") if line[-1:].isspace() else (words[:-1], "".join(words[-1:]))


class _Whole(ShellComplete):
    """A shell that takes ``--format=j`` for one word, and wants all of it back."""

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem[Any]]:
        found = super().get_completions(args, incomplete)
        option, equals, _ = incomplete.partition("=")
        if equals and option.startswith("--"):
            for item in found:
                item.value = f"{option}={item.value}"
        return found


class _Zsh(_Whole, ZshComplete):
    pass


class _Fish(_Whole, FishComplete):
    pass


for _shell in (_Bash, _Zsh, _Fish):
    add_completion_class(_shell)


class ImageName(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4
    """An image as commands take it; the names that nbdock's store has, and files, complete it."""

    name = "image"

    def shell_complete(
        self, _ctx: click.Context, _param: click.Parameter, incomplete: str
    ) -> list[CompletionItem[Any]]:
        """Names that begin so, and whatever files there are."""
        names = [CompletionItem(n) for n in image_names() if n.startswith(incomplete)]
        return [*names, CompletionItem(incomplete, type="file")]


def image_names() -> list[str]:
    """The names of the images in the store; none where there is no store, or none to be read."""
    from nbdock import settings
    from nbdock.errors import NbdockError

    # Not by `BlobStore`, whose import takes longer than everything else here.
    try:
        with open(settings.current().home / "index.json", encoding="utf-8") as file:
            entries: Sequence[dict[str, Any]] = json.load(file)["manifests"]
        return [name for e in entries if (name := e.get("annotations", {}).get(_REF_NAME))]
    except (NbdockError, OSError, ValueError, LookupError, TypeError, AttributeError):
        return []


@click.command(
    short_help="Print what makes a shell complete nbdock's commands.",
    epilog="\n".join(
        [
            "\b",
            "Into the shell's own place, for every new shell:",
            "  nbdock completion bash > ~/.local/share/bash-completion/completions/nbdock",
            '  nbdock completion zsh > "${fpath[1]}/_nbdock"',
            "  nbdock completion fish > ~/.config/fish/completions/nbdock.fish",
            "",
            "\b",
            "For this one:",
            '  eval "$(nbdock completion bash)"    (or zsh)',
            "  nbdock completion fish | source",
        ]
    ),
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, *, shell: str) -> None:
    """Print the script with which Tab completes commands, options, files and names of images."""
    root = ctx.find_root()
    found = get_completion_class(shell)
    assert found is not None
    script = found(root.command, {}, "nbdock", "_NBDOCK_COMPLETE").source()
    click.echo(script.rstrip("\n"))
