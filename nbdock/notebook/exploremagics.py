"""``%explore``: look at an image with the mouse and the keyboard, or at a plan, sharing, a closure.

    %explore redis
    %explore redis.tar -o explorer
    %explore --sharing redis nginx

A magic calls the public function of what it shows, with what its words mean in `%layers`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_magic, magics_class

from nbdock.notebook import explore
from nbdock.notebook.flags import parse_table
from nbdock.notebook.tablemagics import image_values

__all__ = ["ExploreMagics"]


@magics_class
class ExploreMagics(Magics):
    """The line magic that gives explorers."""

    @line_magic
    def explore(self, line: str) -> Any:
        """Explore an image: its layers, its files, what takes the room, what is wasted.

            %explore redis
            %explore redis.tar -o explorer
            %explore --sharing redis nginx
            %explore --closure redis
            %explore --plan contents

        An image is what it is for %layers; with --plan, a name in the notebook that stands for
        packages or a closure. What is selected is explorer.selection.

        Flags: --plan (layers for every planner), --sharing (what images share), --closure (what
        packages need), --platform PLATFORM, --no-tls-verify, -o NAME (bind the explorer).
        """
        flags = parse_table("explore", line)
        given: dict[str, Any] = dict(flags.arguments)
        what = given.pop("what", "image")
        made: Any
        if what == "sharing":
            made = explore.explore_sharing(
                image_values("explore", flags.images, self.shell), **given
            )
        elif what == "plan":
            made = explore.explore_plan(self._contents(flags.images), **given)
        elif what == "closure":
            made = explore.explore_closure(self._one_of(flags.images), **given)
        else:
            [image] = image_values("explore", flags.images, self.shell, count=1)
            made = explore.explore(image, **given)
        if flags.output:
            self.shell.user_ns[flags.output] = made
        return made

    def _contents(self, words: Sequence[str]) -> Any:
        """What a name in the notebook stands for, whatever that is."""
        if len(words) != 1 or words[0] not in self.shell.user_ns:
            raise UsageError(
                "%explore --plan takes a name in the notebook that stands for packages or a "
                f"closure, not {' '.join(words)}."
            )
        return self.shell.user_ns[words[0]]

    def _one_of(self, words: Sequence[str]) -> Any:
        if len(words) == 1 and words[0] in self.shell.user_ns:
            return self.shell.user_ns[words[0]]
        [image] = image_values("explore", words, self.shell, count=1)
        return image
