"""What all explorers share: a view in the browser that asks, and an answer from Python.

A view holds no data but what it shows. It asks for more as people scroll, open and search; each
question is a message with an id, answered by the method of its name in a thread of nbdock's own,
in the order asked. So a kernel that is not busy answers at once, one that is busy with a cell does
too where the front end has subshells (JupyterLab 4.4 with ipykernel 7), and a question that fails
is told in the view and nowhere else.

    class Numbers(Explorer):
        name = "numbers"                            # numbers.js and numbers.css, after base.*

        def start(self):                            # what the view is drawn with
            return {"count": 1_000_000}

        def answer_page(self, question):            # ask(model, { what: "page", from: 200 })
            return list(range(question["from"], question["from"] + 100))

        def twin(self):                             # what stands where no view is drawn
            return Twin("A million numbers", "<p>A million numbers</p>")
"""

from __future__ import annotations

import abc
import collections
import contextvars
import dataclasses
import functools
import html
import logging
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from nbdock.errors import NbdockError
from nbdock.notebook.jobwidget import can_widgets
from nbdock.notebook.progress import updates_displays

__all__ = ["Explorer", "Twin", "view_class"]

_log = logging.getLogger(__name__)

_INSTALL = 'pip install "nbdock[widgets]"'
_MUTED = "color:var(--jp-ui-font-color2,#616161)"


@dataclasses.dataclass(frozen=True)
class Twin:
    """What stands in place of a view: the same as plain text, and as HTML without scripts."""

    text: str
    html: str


@functools.cache
def view_class(name: str) -> Any:
    """The widget class whose view is drawn by ``base.js`` and ``<name>.js``, with their styles.

    A module in the browser cannot import others from here, so both are one text. The class is
    made where one is shown, as importing widgets takes a while.
    """
    import anywidget
    import traitlets

    here = Path(__file__).parent

    def joined(kind: str) -> str:
        parts = [here / f"base.{kind}", here / f"{name}.{kind}"]
        return "\n".join(part.read_text(encoding="utf-8") for part in parts)

    class ExplorerView(anywidget.AnyWidget):  # type: ignore[misc,unused-ignore]
        _esm = joined("js")
        _css = joined("css")
        start = traitlets.Dict().tag(sync=True)
        twin = traitlets.Unicode().tag(sync=True)

    return ExplorerView


class Explorer(abc.ABC):
    """Something that is explored in a notebook: a view that asks, and its static twin.

    A class of an explorer has a `name`, and methods `start`, `twin` and ``answer_<what>``; those,
    and no others, can be called from the browser.
    """

    name: ClassVar[str]

    def __init__(self) -> None:
        self._view: Any = None
        self._questions: collections.deque[Any] = collections.deque()
        self._lock = threading.Lock()
        self._is_answering = False

    @abc.abstractmethod
    def start(self) -> Mapping[str, Any]:
        """What the view is drawn with, before it asks: small, as JSON has it."""

    @abc.abstractmethod
    def twin(self) -> Twin:
        """What a notebook keeps; it must not grow with what is explored."""

    def close(self) -> None:
        """Take the views off the page; this can be shown anew."""
        if self._view is not None:
            self._view.close()
            self._view = None

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:  # noqa: ARG002 - IPython's signature
        twin = self.twin()
        bundle: dict[str, Any] = {"text/plain": twin.text, "text/html": twin.html}
        if not updates_displays():
            return bundle
        if not can_widgets():
            line = f"Widgets are not installed; with them this can be explored: {_INSTALL}"
            bundle["text/plain"] += f"\n\n{line}"
            bundle["text/html"] += f'<div style="{_MUTED}">{html.escape(line)}</div>'
            return bundle
        if self._view is None:
            self._view = self._made(twin)
        view = {"version_major": 2, "version_minor": 0, "model_id": self._view.model_id}
        return {**bundle, "application/vnd.jupyter.widget-view+json": view}

    def _made(self, twin: Twin) -> Any:
        view = view_class(self.name)(start=dict(self.start()), twin=twin.html)
        # ipykernel 7.4 answers in the shell that spoke last, which a running cell keeps busy:
        # have it take the one that the front end asks for.
        if hasattr(view.comm, "_reply_subshell_for"):
            view.comm._reply_subshell_for = lambda _, asked: asked  # noqa: SLF001
        # Answers belong to the cell that shows the view, whatever runs by then.
        self._cell = contextvars.copy_context()
        view.on_msg(self._heard)
        return view

    def _heard(self, _view: Any, message: Any, _buffers: Any) -> None:
        # In any thread; answering may take longer than a kernel should be kept.
        with self._lock:
            # A view asks again what it was not answered; what waits here is answered once.
            if message not in self._questions:
                self._questions.append(message)
            if self._is_answering:
                return
            self._is_answering = True
        threading.Thread(target=self._answer_all, name="nbdock-explore", daemon=True).start()

    def _answer_all(self) -> None:
        while True:
            with self._lock:
                if not self._questions:
                    self._is_answering = False
                    return
                message = self._questions.popleft()
            answer = self.answer(message)
            view = self._view
            if answer is None or view is None:
                continue
            try:
                self._cell.run(view.send, answer)
            except Exception:
                # What is no JSON is an error of nbdock's; the view is told, so that none waits.
                _log.exception("An answer to %r cannot be sent", message)
                self._cell.run(view.send, _failed(answer["id"], "This cannot be shown."))

    def answer(self, message: Any) -> dict[str, Any] | None:
        """The answer to a message of the browser, or what went wrong; None to what is no question.

        Parameters
        ----------
        message
            ``{"id": ..., "what": "page", ...}``.

        Returns
        -------
        dict or None
            ``{"id": ..., "answer": ...}``, or ``{"id": ..., "error": {"message", "hint"}}``.
        """
        if not isinstance(message, dict) or not isinstance(message.get("what"), str):
            return None
        id_ = message.get("id")
        method = getattr(self, f"answer_{message['what']}", None)
        if method is None:
            return _failed(id_, f"There is no question {message['what']!r:.40}.")
        try:
            return {"id": id_, "answer": method(message)}
        except NbdockError as error:
            return _failed(id_, error.message, error.hint or "")
        except Exception as error:
            _log.exception("A question of a view failed: %r", message)
            return _failed(id_, f"{type(error).__name__}: {error}")


def _failed(id_: object, message: str, hint: str = "") -> dict[str, Any]:
    return {"id": id_, "error": {"message": message, "hint": hint}}
