"""A real kernel: display data, progress, the interrupt button, completion, jobs."""

from __future__ import annotations

import re
from pathlib import Path

import nbclient
import nbformat
import pytest

SLOW = """%%buildImage -o slow
name = "slow";
contents = [ (textFile "etc/motd" "hi") ];
extraCommands = "echo $$ > pid; {}";
"""


def of_kind(messages, kind):
    return [m["content"] for m in messages if m["msg_type"] == kind]


def home(kernel) -> Path:
    [reply] = of_kind(kernel.run("import os; os.environ['NBDOCK_HOME']"), "execute_result")
    return Path(reply["data"]["text/plain"].strip("'"))


def leftovers(kernel) -> list[Path]:
    """Temporary files of the store, and directories in which commands ran."""
    base = home(kernel)
    return [*(base / "tmp").glob("*"), *base.parent.glob("nbdock-*")]


def test_a_result_is_text_and_html(kernel) -> None:
    messages = kernel.run('%%buildImage\nname = "x"; tag = "1"; contents = [ (textFile "a" "b") ];')
    assert of_kind(messages, "error") == []
    [result] = of_kind(messages, "execute_result")
    assert set(result["data"]) == {"text/plain", "text/html"}
    assert result["data"]["text/plain"].startswith("x:1\n")
    assert "<table" in result["data"]["text/html"]


def test_progress_appears_and_ends_as_one_line(kernel) -> None:
    messages = kernel.run(SLOW.format("sleep 0.6"))
    [first] = of_kind(messages, "display_data")
    updates = of_kind(messages, "update_display_data")
    assert "Running extraCommands" in str([first, *updates])
    built = re.fullmatch(r"Built in (\d+(?:\.\d)?) s\.", updates[-1]["data"]["text/plain"])
    assert built
    # All of it is one display, so a notebook keeps one line.
    assert {u["transient"]["display_id"] for u in updates} == {first["transient"]["display_id"]}
    # At most ten changes a second.
    assert len(updates) <= 10 * float(built[1]) + 2
    assert of_kind(messages, "execute_result")


def test_an_error_is_shown_where_it_is(kernel) -> None:
    messages = kernel.run('%%buildImage\nname = "x";\nmaxLayer = 3;')
    [error] = of_kind(messages, "error")
    assert error["ename"] == "UnknownArgumentError"
    assert error["evalue"].startswith("%%buildImage has no argument 'maxLayer'.")
    plain = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(error["traceback"]))
    assert "  maxLayer = 3;\n  ^\n" in plain
    assert "run_cell_magic" not in plain


def test_a_misspelled_flag_fails_the_cell(kernel) -> None:
    request = kernel.send('%%buildImage --bakground\nname = "x";')
    told = of_kind(list(kernel.messages(request)), "stream")
    assert "Did you mean --background?" in "".join(m["text"] for m in told)
    reply = kernel.client.get_shell_msg(timeout=240)
    while reply["parent_header"]["msg_id"] != request:
        reply = kernel.client.get_shell_msg(timeout=240)
    assert reply["content"]["status"] == "error"


def test_an_error_of_an_awaited_method(kernel) -> None:
    kernel.run('%%buildImage -o x\nname = "x";')
    [error] = of_kind(kernel.run('y = 1\nawait x.save("/proc/none/x.tar")'), "error")
    plain = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(error["traceback"]))
    assert '  await x.save("/proc/none/x.tar")' in plain
    assert "Traceback" not in plain


def test_interrupt_stops_a_build_and_leaves_nothing(kernel) -> None:
    request = kernel.send(SLOW.format("exec sleep 600"))
    messages = []
    interrupted = False
    for message in kernel.messages(request):
        messages.append(message)
        # Only when the commands really run.
        if not interrupted and "Running extraCommands" in str(message["content"]):
            kernel.manager.interrupt_kernel()
            interrupted = True
    [error] = of_kind(messages, "error")
    assert error["ename"] == "KeyboardInterrupt"
    plain = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(error["traceback"]))
    assert re.fullmatch(
        r"KeyboardInterrupt: stopped after [\d.]+ s; nothing was left half-done\.", plain
    )
    last = of_kind(messages, "update_display_data")[-1]["data"]["text/plain"]
    assert re.fullmatch(r"Cancelled after [\d.]+ s\.", last)
    assert leftovers(kernel) == []
    # The next cell works, and so does the same build.
    messages = kernel.run(SLOW.format("true"))
    assert of_kind(messages, "error") == []


def test_no_process_of_an_interrupted_build_lives_on(kernel) -> None:
    import psutil

    request = kernel.send(SLOW.format("exec sleep 601"))
    interrupted = False
    for message in kernel.messages(request):
        if not interrupted and "Running extraCommands" in str(message["content"]):
            kernel.manager.interrupt_kernel()
            interrupted = True
    assert interrupted
    [reply] = of_kind(kernel.run('__import__("os").getpid()'), "execute_result")
    children = psutil.Process(int(reply["data"]["text/plain"])).children(recursive=True)
    assert [c for c in children if "601" in c.cmdline()] == []


def test_a_job_is_shown_to_its_end(kernel) -> None:
    messages = kernel.run(
        '%%buildImage --background -o job\nname = "x"; extraCommands = "sleep 0.3";'
    )
    [shown] = of_kind(messages, "display_data")
    assert "▶ job: " in shown["data"]["text/plain"]
    assert of_kind(messages, "execute_result") == []
    while "✓" not in (update := kernel.next_update())["content"]["data"]["text/plain"]:
        pass
    assert update["content"]["transient"]["display_id"] == shown["transient"]["display_id"]
    [result] = of_kind(kernel.run("job"), "execute_result")
    assert result["data"]["text/plain"].startswith("x:")


def test_cells_go_on_while_a_job_runs(kernel) -> None:
    kernel.run('%%buildImage --background -o job\nname = "x"; extraCommands = "sleep 600";')
    [result] = of_kind(kernel.run("1 + 1"), "execute_result")
    assert result["data"]["text/plain"] == "2"
    [error] = of_kind(kernel.run("job.cancel()\nawait job"), "error")
    assert error["ename"] == "JobCancelledError"
    [shown] = error["traceback"]
    assert "The job 'job' was cancelled after " in shown
    assert leftovers(kernel) == []


@pytest.mark.parametrize(
    ("code", "match"),
    [
        ("%%buildLayeredImage\nmaxL", "maxLayers = "),
        ("%%buildLayeredImage --dry", "--dry-run"),
        ("%%buildImage\ncontents = [ (textF", "textFile"),
        ("%%buildImage\nconfig.Work", "config.WorkingDir = "),
    ],
)
def test_completion_by_the_kernel(kernel, code, match) -> None:
    reply = kernel.client.complete(code, len(code), reply=True, timeout=240)["content"]
    assert reply["status"] == "ok"
    assert match in reply["matches"]
    completed = code[: reply["cursor_start"]] + match
    assert completed.startswith(code[: code.rfind("\n") + 1])
    assert completed.endswith(match)


def test_a_notebook_runs_headless_and_stays_small(tmp_path, nbdock_home, monkeypatch) -> None:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    cells = [
        "%load_ext nbdock",
        *(f'%%buildImage\nname = "x{i}"; contents = [ (textFile "a" "{i}") ];' for i in range(5)),
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    nbclient.NotebookClient(notebook, timeout=240, kernel_name="python3").execute()
    assert all(cell.outputs for cell in notebook.cells[1:])
    assert len(nbformat.writes(notebook)) < 20_000
