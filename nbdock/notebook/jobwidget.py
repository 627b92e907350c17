"""The live view of a job in a notebook: progress, the end of the log, and a button that stops it.

A widget is only worth showing where its button works, and that cannot be known beforehand: while a
cell runs, a click reaches Python only if the front end speaks to the kernel over subshells
(JupyterLab 4.4 with ipykernel 7). So every view that is drawn says so first; the button appears
when that has arrived, and so another message would.

    widget = JobWidget(job)
    widget.is_answered, widget.bundle
"""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path
from typing import Any

from nbdock.jobs import Job, JobState
from nbdock.notebook.joblook import heading, log_lines

__all__ = ["JobWidget", "can_widgets"]

_LINES = 300


@functools.cache
def can_widgets() -> bool:
    """Whether widgets are installed."""
    return importlib.util.find_spec("anywidget") is not None


@functools.cache
def _view_class() -> Any:
    """The widget's class; imported where one is shown, for that takes a while."""
    import anywidget
    import traitlets

    here = Path(__file__).parent

    class JobView(anywidget.AnyWidget):  # type: ignore[misc,unused-ignore]
        _esm = (here / "job.js").read_text(encoding="utf-8")
        _css = (here / "job.css").read_text(encoding="utf-8")
        shown = traitlets.Dict().tag(sync=True)

    return JobView


class JobWidget:
    """A widget that follows a job for as long as it runs.

    Attributes
    ----------
    is_answered
        Whether a view has been drawn and has said so, while nothing kept the kernel from hearing.
    """

    def __init__(self, job: Job[Any], *, named: bool) -> None:
        self._job = job
        self._named = named
        self.is_answered = False
        self._view = _view_class()(shown=self._state())
        # ipykernel 7.4 answers in the shell that spoke last, which a running cell keeps busy:
        # have it take the one that the front end asks for.
        if hasattr(self._view.comm, "_reply_subshell_for"):
            self._view.comm._reply_subshell_for = lambda _, asked: asked  # noqa: SLF001
        self._view.on_msg(self._heard)

    def _heard(self, _widget: Any, message: Any, _buffers: Any) -> None:
        # In any thread: nothing is sent from here.
        self.is_answered = True
        if isinstance(message, dict) and message.get("type") == "cancel":
            self._job.cancel()

    def _state(self) -> dict[str, Any]:
        first, lines = log_lines(self._job.log, _LINES)
        return {
            "name": self._job.name, "text": heading(self._job, named=self._named),
            "first": first, "lines": lines, "reachable": self.is_answered,
            "cancelling": self._job.is_cancelling,
        }  # fmt: skip

    @property
    def bundle(self) -> dict[str, Any]:
        """What shows it, by MIME type."""
        view = {"version_major": 2, "version_minor": 0, "model_id": self._view.model_id}
        return {"application/vnd.jupyter.widget-view+json": view}

    def update(self) -> None:
        """Show where the job stands now."""
        if self._job.state is JobState.RUNNING:
            self._view.shown = self._state()

    def close(self) -> None:
        """Let go of it; its views disappear."""
        self._view.close()
