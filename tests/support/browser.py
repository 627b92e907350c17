"""JupyterLab in headless Chromium: a server, a browser, and the thread in which it is driven.

Playwright's synchronous interface keeps an event loop in the thread that uses it, which would be
in the way of all asynchronous tests of the same worker. So it lives in a thread of its own
(`Web`), and the tests of `tests/browser` run in there as well (see their conftest.py).

    with lab_server(directory) as server, Web(server) as web:
        with web.notebook("first", pictures) as lab:
            web.call(lab.run, "print(1)")
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, ParamSpec, TypeVar

import nbformat
import psutil
from playwright.sync_api import (
    ConsoleMessage,
    Error,
    Locator,
    Page,
    ViewportSize,
    expect,
    sync_playwright,
)
from support.components import require

__all__ = ["PATIENCE_S", "LabServer", "Notebook", "Web", "lab_server"]

P = ParamSpec("P")
T = TypeVar("T")

PATIENCE_S = 120
CHROMIUM_OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
SERVER_OPTIONS = (
    "--no-browser",
    "--allow-root",
    "--expose-app-in-browser",
    "--ServerApp.ip=127.0.0.1",
    "--ServerApp.terminals_enabled=False",
    "--LanguageServerManager.autodetect=False",
    "--LabApp.extension_manager=readonly",
    "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    "--LabApp.news_url=None",
)
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SETTINGS = {
    "@jupyterlab/apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/docmanager-extension/plugin": {"autosave": False},
}
_URL = re.compile(r"http://127\.0\.0\.1:\d+/")


@dataclass(frozen=True)
class LabServer:
    """A running server: where it is, and the directory whose files it shows."""

    url: str
    token: str
    root: Path


@contextlib.contextmanager
def lab_server(
    private: Path, *, module: str = "jupyterlab", python: str = sys.executable
) -> Iterator[LabServer]:
    """Start JupyterLab (or Notebook) on loopback, without anybody's configuration.

    All that it and its kernels write is below `private`. At the end its kernels are gone as well.
    """
    root, token = private / "work", secrets.token_hex(16)
    root.mkdir(parents=True)
    for plugin, settings in SETTINGS.items():
        path = private / "settings" / f"{plugin}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(settings))
    environment = {
        **os.environ,
        "HOME": str(private), "TMPDIR": str(root), "JUPYTER_TOKEN": token,
        "IPYTHONDIR": str(private / "ipython"), "NBDOCK_HOME": str(private / "home"),
        "NBDOCK_PROGRESS_DELAY_S": "0.3",
        "JUPYTER_CONFIG_DIR": str(private / "config"), "JUPYTER_DATA_DIR": str(private / "data"),
        "JUPYTER_RUNTIME_DIR": str(private / "runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(private / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(private / "workspaces"),
    }  # fmt: skip
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]  # if it is taken meanwhile, the server tries others
    server = subprocess.Popen(
        [
            python, "-m", module, *SERVER_OPTIONS,
            f"--ServerApp.root_dir={root}", f"--ServerApp.port={port}",
        ],
        env=environment, cwd=root, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True, errors="replace",
    )  # fmt: skip
    assert server.stderr
    said: list[str] = []
    is_up = threading.Event()
    reader = threading.Thread(target=_read, args=(server.stderr, said, is_up), daemon=True)
    reader.start()
    try:
        assert is_up.wait(PATIENCE_S), "".join(said)
        found = next(filter(None, map(_URL.search, said)), None)
        assert found, "".join(said)
        yield LabServer(found[0], token, root)
    finally:
        _stop(server)
        reader.join(PATIENCE_S)
        (private / "server.log").write_text("".join(said))


def _read(stream: IO[str], said: list[str], is_up: threading.Event) -> None:
    with stream:
        for line in stream:
            said.append(line)
            if _URL.search(line):
                is_up.set()
    is_up.set()  # or it has ended


def _stop(server: subprocess.Popen[str]) -> None:
    """Stop a server; its kernels too, should it have left some, which is an error."""
    below: list[psutil.Process] = []
    with contextlib.suppress(psutil.NoSuchProcess):
        below = psutil.Process(server.pid).children(recursive=True)
    server.terminate()
    try:
        server.wait(PATIENCE_S)
    finally:
        server.kill()
        _, alive = psutil.wait_procs(below, timeout=10)
        for process in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
    assert not alive, f"The server left processes: {alive}"


class Web:
    """A browser with JupyterLab open in it, driven in a thread of its own.

    `size` is of its window, in pixels of style sheets, of which each is `scale` pixels wide.
    """

    def __init__(
        self, server: LabServer, *, size: tuple[int, int] = (1100, 900), scale: int = 1
    ) -> None:
        self._server = server
        self._size = ViewportSize(width=size[0], height=size[1])
        self._scale = scale
        self._thread = concurrent.futures.ThreadPoolExecutor(1, "browser")
        self._open = contextlib.ExitStack()

    def __enter__(self) -> Web:
        program = next(filter(None, map(shutil.which, BROWSERS)), None)
        if program is None:
            require("chromium")
        self.page = self.call(self._start, program)
        return self

    def __exit__(self, *_: object) -> None:
        self.call(self._open.close)
        self._thread.shutdown()

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function in the browser's thread, the only one that may use a page."""
        return self._thread.submit(function, *args, **kwargs).result()

    def _start(self, program: str) -> Page:
        playwright = self._open.enter_context(sync_playwright())
        browser = self._open.enter_context(
            playwright.chromium.launch(executable_path=program, args=CHROMIUM_OPTIONS)
        )
        context = browser.new_context(viewport=self._size, device_scale_factor=self._scale)
        context.set_default_timeout(PATIENCE_S * 1000)
        expect.set_options(timeout=PATIENCE_S * 1000)
        page = context.new_page()
        self._load(page)
        return page

    def _load(self, page: Page) -> None:
        page.goto(f"{self._server.url}lab?reset&token={self._server.token}")
        page.wait_for_function("() => window.jupyterapp")
        page.evaluate(
            """() => {
              window.isRestored = false;
              window.jupyterapp.restored.then(() => {
                window.jupyterapp.shell.collapseLeft();
                window.isRestored = true;
              });
            }"""
        )
        page.wait_for_function("() => window.isRestored")

    @contextlib.contextmanager
    def notebook(self, name: str, pictures: Path) -> Iterator[Notebook]:
        """Open a new notebook, empty, with its kernel; both are closed in the end.

        For any thread, the methods of the notebook are not.
        """
        content = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("")])
        content.metadata.kernelspec = {
            "name": "python3", "display_name": "Python 3", "language": "python"
        }  # fmt: skip
        nbformat.write(content, self._server.root / f"{name}.ipynb")
        notebook = Notebook(self, self.page, f"{name}.ipynb", pictures)
        self.call(notebook.open)
        try:
            yield notebook
        finally:
            try:
                self.call(notebook.close)
            except Error:
                self.call(self._load, self.page)  # so that the next test finds a page
                raise


_PANEL = """(path) =>
  [...window.jupyterapp.shell.widgets("main")].find((w) => w.context?.path === path)"""
_OPEN = """([path]) => {
  window.jupyterapp.commands.execute("docmanager:open", { path });
}"""
_IS_READY = f"""([path]) => {{
  const panel = ({_PANEL})(path);
  return panel?.context.isReady && panel.sessionContext.session?.kernel?.status === "idle";
}}"""
_CLOSE = f"""([path]) => {{
  const panel = ({_PANEL})(path);
  panel.sessionContext.shutdown().then(() => panel.dispose());
}}"""
_IS_CLOSED = f"([path]) => !({_PANEL})(path)"
# A new cell at the end, or the last if that is empty; it is made the active one, and may be run.
_WRITE = f"""async ([path, source, runs]) => {{
  const panel = ({_PANEL})(path);
  const notebook = panel.content;
  const model = notebook.model.sharedModel;
  const last = model.cells.length - 1;
  const index = last >= 0 && model.getCell(last).getSource() === "" ? last : last + 1;
  if (index === last) model.getCell(last).setSource(source);
  else model.insertCell(index, {{ cell_type: "code", source }});
  notebook.activeCellIndex = index;
  notebook.mode = "command";
  await notebook.scrollToItem(index);
  if (runs) {{
    panel.isRun = false;
    window.jupyterapp.commands.execute("notebook:run-cell").finally(() => (panel.isRun = true));
  }}
  return index;
}}"""
_IS_RUN = f"([path]) => ({_PANEL})(path).isRun"


@dataclass
class Notebook:
    """A notebook with a kernel of its own. Only for the thread in which the page lives.

    Attributes
    ----------
    web
        The browser.
    page
        Playwright's page, with JupyterLab and this notebook in it.
    console_errors
        What the browser's console showed as errors so far, and exceptions of the page.
    """

    web: Web
    page: Page
    path: str
    pictures: Path
    console_errors: list[str] = field(default_factory=list)

    def open(self) -> None:
        """Open it and wait for its kernel."""
        self.page.on("console", self._on_console)
        self.page.on("pageerror", self._on_error)
        self.page.evaluate(_OPEN, [self.path])
        self.page.wait_for_function(_IS_READY, arg=[self.path])

    def close(self) -> None:
        """Shut its kernel down and close it."""
        self.theme("light")
        self.page.evaluate(_CLOSE, [self.path])
        self.page.wait_for_function(_IS_CLOSED, arg=[self.path])
        self.page.remove_listener("console", self._on_console)
        self.page.remove_listener("pageerror", self._on_error)

    def _on_console(self, message: ConsoleMessage) -> None:
        # JupyterLab's own, where a kernel ends while it is asked about its debugger.
        if message.type == "error" and "debugger state" not in message.text:
            self.console_errors.append(f"{message.text} ({message.location.get('url', '')})")

    def _on_error(self, error: Error) -> None:
        # JupyterLab's own, where it takes its splash screen off the page twice: that is shown while
        # a theme is loaded, taken off by a timer, and may be shown again before the timer ends.
        stack = (error.stack or "").splitlines()
        calls = [line for line in stack if line.lstrip().startswith("at ")]
        is_its_own = bool(calls) and all("/static/lab/jlab_core." in call for call in calls)
        if not (is_its_own and "'removeChild'" in error.message):
            self.console_errors.append("\n".join([str(error), *calls]))

    def run(self, source: str, *, fails: bool = False) -> Locator:
        """Run a new cell to its end; it must fail, or must not. Gives its output area."""
        output = self.start(source)
        self.wait()
        errors = output.locator("[data-mime-type='application/vnd.jupyter.stderr']")
        if fails:
            expect(errors).to_be_visible()
        else:
            assert errors.count() == 0, errors.first.inner_text()
        return output

    def start(self, source: str) -> Locator:
        """Run a new cell and do not wait for its end. Gives its output area."""
        return self.output(self.page.evaluate(_WRITE, [self.path, source, True]))

    def wait(self) -> None:
        """Wait for the end of the cell that was started last."""
        self.page.wait_for_function(_IS_RUN, arg=[self.path])

    def write(self, source: str) -> Locator:
        """Write a new cell, which is not run. Gives the cell."""
        return self.cell(self.page.evaluate(_WRITE, [self.path, source, False]))

    def cell(self, index: int = -1) -> Locator:
        """A cell; without an index, the last."""
        return self.page.locator(".jp-Notebook .jp-Cell").nth(index)

    def output(self, index: int = -1) -> Locator:
        """The output area of a cell."""
        return self.cell(index).locator(".jp-Cell-outputArea")

    def theme(self, name: str) -> None:
        """Choose the theme: "light" or "dark"."""
        is_light = str(name == "light").lower()
        chosen = self.page.locator(f"body[data-jp-theme-light='{is_light}']")
        if chosen.count():
            return
        self.page.evaluate(
            "(theme) => { window.jupyterapp.commands.execute('apputils:change-theme', { theme }) }",
            f"JupyterLab {name.title()}",
        )
        expect(chosen).to_be_attached()

    def screenshot(self, name: str, of: Locator | None = None) -> Path:
        """Keep a picture of the page, or of a part of it."""
        path = self.pictures / f"{name}.png"
        (self.page if of is None else of).screenshot(path=path, animations="disabled")
        return path
