"""The magics do what the public functions do."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import pytest

import nbdock
from nbdock import concurrency
from nbdock.errors import (
    ArgumentTypeError,
    CellSyntaxError,
    CommandError,
    LayerLimitError,
    MissingArgumentError,
    PackageNotFoundError,
    UndefinedNameError,
    UnknownArgumentError,
)

HELLO = """
name = "hello";
contents = [ (script "hello" "echo hello") (textFile "etc/motd" "Welcome") ];
config = { Cmd = [ "/bin/hello" ]; Env = [ "A=1" ]; };
"""


@pytest.mark.parametrize("magic", ["buildImage", "buildLayeredImage"])
def test_cell_and_function_give_the_identical_image(cells, magic) -> None:
    function = {
        "buildImage": nbdock.build_image, "buildLayeredImage": nbdock.build_layered_image,
    }[magic]  # fmt: skip
    shown = cells.value(f"%%{magic} -o hello{HELLO}")
    built = concurrency.run(
        function(
            "hello",
            contents=[
                nbdock.script("hello", "echo hello"), nbdock.text_file("etc/motd", "Welcome"),
            ],
            config={"Cmd": ["/bin/hello"], "Env": ["A=1"]},
        )
    )  # fmt: skip
    assert shown.digest == built.digest
    assert shown.reference == built.reference
    assert cells.names["hello"] is shown


def test_a_whole_expression_does_the_same(cells) -> None:
    bindings = cells.value(f"%%buildImage{HELLO}")
    assert cells.value(f"%%buildImage\nbuildImage {{ {HELLO} }}").digest == bindings.digest
    whole = cells.value(f"%%buildImage\npkgs.dockerTools.buildImage {{ {HELLO} }}")
    assert whole.digest == bindings.digest


def test_the_other_builder_in_a_cell_is_refused(cells) -> None:
    shown = cells.shown(f"%%buildImage\nbuildLayeredImage {{ {HELLO} }}")
    assert "Begin the cell with %%buildLayeredImage." in shown


def test_the_notebooks_own_names_come_first(cells) -> None:
    cells.run("import nbdock\nscript = nbdock.text_file('opt/mine', 'mine')")
    image = cells.value('%%buildImage\nname = "x"; contents = [ script ];')
    assert concurrency.run(image.file("opt/mine")) == b"mine"


def test_names_of_nbdock_need_nothing_before(cells, tmp_path) -> None:
    (tmp_path / "page").write_text("x")
    image = cells.value(
        f'%%buildImage\nname = "x"; contents = [ (directory "{tmp_path}") '
        '(script "hi" "echo") (textFile "etc/x" "y") ];'
    )
    assert concurrency.run(image.file("page")) == b"x"
    assert concurrency.run(image.file("etc/x")) == b"y"


def test_a_base_from_the_notebook(cells) -> None:
    cells.run(f"%%buildImage -o base{HELLO}")
    image = cells.value('%%buildImage\nname = "top"; fromImage = base;')
    assert image.layers[0].diff_id == cells.names["base"].layers[0].diff_id


def test_package_sets_load_when_the_cell_names_them(cells, packages) -> None:
    image = cells.value('%%buildLayeredImage\nname = "r"; contents = [ apt.redis-server ];')
    assert packages.loads == 1
    assert concurrency.run(image.file("opt/libc6")) == b"libc6"
    mentioned = '# apt\nname = "apt"; extraCommands = "echo apt > apt"; '
    cells.value(f"%%buildImage\n{mentioned}")
    assert packages.loads == 1


def test_a_set_that_cannot_load_says_so(cells, packages) -> None:
    packages.error = nbdock.errors.ConnectionFailedError(
        "No answer from the mirror.", hint="Are you online?"
    )
    error = cells.error('%%buildImage\nname = "r"; contents = [ apt.redis-server ];')
    assert isinstance(error, nbdock.errors.ConnectionFailedError)
    shown = cells.rendered(error)
    assert "No answer from the mirror." in shown
    assert "Are you online?" in shown


def test_helpers_are_names_of_a_cell(cells, packages) -> None:
    """In an image of Debian's packages they are Debian's."""
    image = cells.value("""%%buildLayeredImage
      name = "helpers";
      contents = [
        apt.libc6 usrBinEnv
        (fakeNss.override { extraPasswdLines = [ "redis:x:999:999::/data:/bin/sh" ]; })
      ];
      extraCommands = ''echo '${shadowSetup}' > commands'';
    """)
    passwd = concurrency.run(image.file("etc/passwd")).decode().splitlines()
    assert [line.partition(":")[0] for line in passwd] == ["root", "redis", "nobody"]
    assert concurrency.run(image.file("opt/coreutils")) == b"coreutils"


# Errors

WRONG = {
    "unknown argument": (
        'name = "x";\n  maxLayer = 3;', UnknownArgumentError, 3, 3, "Did you mean maxLayers?",
    ),
    "wrong type": ('name = "x";\nmaxLayers = "3";', ArgumentTypeError, 3, 13, "whole number"),
    "wrong list": ('name = "x";\nextraCommands = [ ];', ArgumentTypeError, 3, 17, "a list"),
    "layer limit": ('name = "x"; maxLayers = 126;', LayerLimitError, 2, 25, "from 2 to 125"),
    "unknown config field": (
        'name = "x";\nconfig = {\n\tCmdd = [ ];\n};', UnknownArgumentError, 4, 2,
        "Did you mean Cmd?",
    ),
    "wrong config field": (
        'name = "x"; config.Cmd = 3;', ArgumentTypeError, 2, 26, "a list of strings",
    ),
    "wrong name": ('name = "A b";', ArgumentTypeError, 2, 8, "name"),
    "unknown package": (
        'name = "x";\ncontents = [ apt.redis-servr ];', PackageNotFoundError, 3, 18,
        "Did you mean redis-server?",
    ),
    "helpers": ('name = "x"; contents = [ fakeNs ];', UndefinedNameError, 2, 26, "fakeNss"),
    "undefined": ('name = "x"; contents = [ redis ];', UndefinedNameError, 2, 26, "redis"),
    "syntax": ('name = "x', CellSyntaxError, 2, 8, "never closed"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_errors_point_into_the_cell(cells, packages, what) -> None:
    body, kind, line, column, told = WRONG[what]
    error = cells.error(f"%%buildLayeredImage\n{body}")
    assert isinstance(error, kind)
    shown = cells.rendered(error).splitlines()
    assert shown[0].startswith(f"{kind.__name__}: ")
    # Lines are counted from the one after the magic's.
    assert shown[0].endswith(f"(line {line - 1}, column {column})")
    source = body.splitlines()[line - 2]
    at = shown.index(f"  {source}")
    # Tabs and wide characters keep the caret below its character.
    assert shown[at + 1].expandtabs().index("^") == len(f"  {source[: column - 1]}".expandtabs())
    assert told in "\n".join(shown)
    assert "Traceback" not in "\n".join(shown)


def test_a_missing_name(cells) -> None:
    error = cells.error('%%buildImage\ntag = "1";')
    assert isinstance(error, MissingArgumentError)
    assert cells.rendered(error).splitlines() == [
        "MissingArgumentError: %%buildImage needs the argument name.",
        "",
        'Add it, for example: name = "hello";',
    ]


def test_failing_commands_show_their_output(cells) -> None:
    error = cells.error('%%buildImage\nname = "x"; extraCommands = "echo no such >&2; exit 3";')
    assert isinstance(error, CommandError)
    assert error.exit_code == 3
    assert "no such" in cells.rendered(error)


def test_a_wrong_push_is_refused_before_anything_is_built(cells, nbdock_home, capsys) -> None:
    assert cells.run(f"%%buildImage --push localhost//x{HELLO}").error_in_exec is not None
    assert "a part between two slashes is empty" in capsys.readouterr().err
    assert not list(nbdock_home.rglob("*"))


def test_misspelled_flags_fail_the_cell(cells, capsys) -> None:
    assert cells.run(f"%%buildImage --dryrun{HELLO}").error_in_exec is not None
    assert "Did you mean --dry-run?" in capsys.readouterr().err


def test_what_failed_binds_nothing(cells) -> None:
    cells.error('%%buildImage -o x\nname = "x"; extraCommands = "false";')
    assert "x" not in cells.names


def test_verbose_tracebacks_are_whole(cells) -> None:
    error = cells.error('%%buildImage\nname = "x"; extraCommands = "false";')
    cells.shell.InteractiveTB.set_mode("Verbose")
    try:
        assert "Traceback" in cells.rendered(error)
    finally:
        cells.shell.InteractiveTB.set_mode("Context")
    assert "Traceback" not in cells.rendered(error)


# Plans


def _blobs(home: Path) -> list[Path]:
    return [p for p in home.rglob("*") if p.is_file() and "blobs" in p.parts]


def test_dry_run_reads_and_fetches_nothing(cells, packages, nbdock_home, tmp_path) -> None:
    # Opening a FIFO without a writer would wait for ever.
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "secret").write_text("x")
    plan = cells.value(
        "%%buildLayeredImage -o plan --dry-run\n"
        f'name = "x"; contents = [ apt.redis-server (directory "{tmp_path}") ];'
    )
    assert cells.names["plan"] is plan
    assert sorted(name for row in plan.rows() for name in row.names)[:1] == ["libc6"]
    assert packages.fetched == []
    assert _blobs(nbdock_home) == []


def test_the_plan_is_what_is_built(cells, packages) -> None:
    for magic in ("buildImage", "buildLayeredImage"):
        body = (
            'name = "x"; contents = [ (textFile "a" "b") ];\n'
            'config.Cmd = [ "${apt.redis-server}/bin/redis" ];'
        )
        plan = cells.value(f"%%{magic} --dry-run\n{body}")
        image = cells.value(f"%%{magic}\n{body}")
        assert [row.names for row in plan.rows()] == [row.names for row in image.plan.rows()]


def test_the_plan_counts_the_layers_of_the_base(cells, packages) -> None:
    cells.run('%%buildLayeredImage -o base\nname = "b"; contents = [ (textFile "a" "b") ];')
    body = 'name = "x"; fromImage = base; maxLayers = 4; contents = [ apt.redis-server ];'
    assert len(cells.value(f"%%buildLayeredImage --dry-run\n{body}")) == 1
    assert len(cells.value(f"%%buildLayeredImage\n{body}").plan) == 1


def test_the_plan_refuses_too_many_layers_with_a_caret(cells) -> None:
    shown = cells.shown('%%buildLayeredImage --dry-run\nname = "x"; maxLayers = 1;')
    assert "(line 1, column 25)" in shown


# Cells with await


def test_awaited_functions_show_errors_the_same_way(cells) -> None:
    cells.run("import nbdock")
    shown = cells.shown('await nbdock.build_image("x", contnts=3)')
    assert "UnknownArgumentError: build_image() has no argument 'contnts'." in shown
    assert "Did you mean contents?" in shown


def test_awaited_methods_show_errors_the_same_way(cells) -> None:
    cells.run(f"%%buildImage -o hello{HELLO}")
    error = cells.error('await hello.save("x.tar", format="zip")')
    assert isinstance(error, ArgumentTypeError)
    shown = cells.rendered(error)
    assert "zip" in shown
    assert 'await hello.save("x.tar", format="zip")' in shown


def test_an_engine_that_is_not_there(cells, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    shown = cells.shown(f"%%buildImage --load{HELLO}")
    assert shown.startswith("EngineError: There is no engine's socket")


def test_a_refused_connection_brings_no_exception_group(cells, packages) -> None:
    """The HTTP library tries several addresses in a task group, whose error must not show."""
    cells.run("import nbdock")
    error = cells.error(
        "nbdock.configure(retries=1)\ntry:\n"
        "    await nbdock.apt(\n"
        "        mirror='http://localhost:1/debian', suite='stable', trusted=True\n"
        "    ).load()\nfinally:\n    nbdock.configure(retries=None)"
    )
    assert isinstance(error, nbdock.errors.NbdockError)
    link: BaseException | None = error
    while link is not None:
        assert not isinstance(link, BaseExceptionGroup)
        link = link.__context__


def test_a_group_behind_a_packages_error_does_not_reach_the_cell(cells, packages) -> None:
    packages.error = nbdock.errors.ConnectionFailedError("No answer.")
    packages.error.__context__ = ExceptionGroup("all failed", [OSError("refused"), OSError("no")])
    error = cells.error('%%buildImage\nname = "r"; contents = [ apt.redis-server ];')
    link: BaseException | None = error
    while link is not None:
        assert not isinstance(link, BaseExceptionGroup)
        link = link.__context__
    assert isinstance(error.__context__, OSError)


# The extension


def test_unloading_leaves_nothing(bare_shell, nbdock_home) -> None:
    shell = bare_shell
    formatters = shell.display_formatter.formatters

    def state() -> object:
        return (
            set(shell.user_ns), set(shell.magics_manager.magics["cell"]),
            {k: set(f.type_printers) for k, f in formatters.items()},
            set(shell.display_formatter.ipython_display_formatter.type_printers),
            len(shell.Completer.custom_matchers),
            hasattr(nbdock.NbdockError, "_render_traceback_"),
            shell.configurables[:],
            sorted(shell.magics_manager.registry),
        )  # fmt: skip

    before = state()
    shell.run_line_magic("load_ext", "nbdock")
    assert "apt" in shell.user_ns
    shell.run_line_magic("load_ext", "nbdock")
    shell.run_line_magic("reload_ext", "nbdock")
    assert len(shell.Completer.custom_matchers) == before[4] + 1
    shell.run_line_magic("unload_ext", "nbdock")
    assert state() == before


def test_loading_keeps_the_notebooks_own_names(bare_shell) -> None:
    bare_shell.user_ns["apt"] = "mine"
    try:
        bare_shell.run_line_magic("load_ext", "nbdock")
        bare_shell.run_line_magic("unload_ext", "nbdock")
        assert bare_shell.user_ns["apt"] == "mine"
    finally:
        del bare_shell.user_ns["apt"]


def test_pkgs_is_there_for_python_and_follows_the_settings(cells, monkeypatch) -> None:
    first = cells.value("pkgs")
    assert first is nbdock.packages.default_nixpkgs()
    assert cells.value("pkgs") is first
    monkeypatch.setenv("NBDOCK_NIX_CHANNEL", "https://channel.example/other")
    assert cells.value("pkgs") is nbdock.packages.default_nixpkgs() is not first
    cells.run("pkgs = 1")
    monkeypatch.setenv("NBDOCK_NIX_CHANNEL", "https://channel.example/third")
    assert cells.value("pkgs") == 1
    cells.run("del pkgs")
    assert "pkgs" not in cells.names


def test_an_interrupt_in_a_load_stops_it(cells, packages) -> None:
    import _thread

    packages.waits = True
    packages.loading = _thread.interrupt_main
    with pytest.raises(KeyboardInterrupt) as caught:
        cells.shell.run_cell_magic("buildImage", "", 'name = "r"; contents = [ apt.libc6 ];')
    assert packages.cancelled
    shown = caught.value._render_traceback_()
    assert "nothing was left half-done" in shown[0]
    packages.waits, packages.loading = False, lambda: None
    cells.value('%%buildImage\nname = "r"; contents = [ apt.libc6 ];')


# Jobs


def test_a_job_is_bound_at_once_and_its_image_when_done(cells, packages) -> None:
    job = cells.value(f"%%buildImage --background -o hello{HELLO}")
    assert cells.names["hello"] in (job, job.result(timeout_s=240))
    image = job.result()
    assert cells.names["hello"] is image
    assert image.digest == cells.value(f"%%buildImage{HELLO}").digest


def test_a_name_that_was_bound_anew_stays(cells, packages) -> None:
    packages.waits = True
    job = cells.value('%%buildImage --background -o x\nname = "x"; contents = [ apt.libc6 ];')
    assert cells.names["x"] is job
    cells.run("x = 42")
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        job.result(timeout_s=240)
    assert cells.names["x"] == 42


def test_a_job_is_awaited_and_cancelled_in_cells(cells, packages) -> None:
    begun = threading.Event()
    packages.waits, packages.loading = True, begun.set
    cells.run('%%buildImage --background -o x\nname = "x"; contents = [ apt.libc6 ];')
    assert begun.wait(240)
    assert cells.names["x"].state.value == "running"
    cells.run("x.cancel()")
    assert isinstance(cells.error("await x"), asyncio.CancelledError)
    assert cells.names["x"].state.value == "cancelled"
    assert packages.cancelled


def test_a_job_is_cancelled_before_it_began(cells, packages) -> None:
    packages.waits = True
    job = cells.value('%%buildImage --background\nname = "x"; contents = [ apt.libc6 ];')
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        job.result(timeout_s=240)


def test_a_job_that_fails_keeps_its_error(cells) -> None:
    cells.run('%%buildImage --background -o x\nname = "x"; extraCommands = "exit 3";')
    error = cells.error("await x")
    assert isinstance(error, CommandError)
    assert cells.names["x"].state.value == "failed"
    assert cells.names["x"].error is error
