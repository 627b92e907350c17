"""Calls awaited in cells of a real kernel: they show how they go, and the interrupt stops them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.registry import Registry
from support.stalling_registry import StallingRegistry, stalling_registry

PULL = 'slow = await nbdock.pull_image("{}/slow:1", arch="amd64"{})'
LEFT = """
import asyncio, os, pathlib
home = pathlib.Path(os.environ["NBDOCK_HOME"])
sorted(f.name.partition(".")[2] for d in ("arriving", "tmp") for f in (home / d).glob("*")), [
    str(task.get_coro()) for task in asyncio.all_tasks() if "nbdock" in str(task.get_coro())
], [os.readlink(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd")
    if os.path.exists(f"/proc/self/fd/{n}") and "home/" in os.readlink(f"/proc/self/fd/{n}")]
"""


def of_kind(messages: list[dict[str, Any]], kind: str) -> list[Any]:
    return [m["content"] for m in messages if m["msg_type"] == kind]


def texts(messages: list[dict[str, Any]]) -> list[str]:
    shown = of_kind(messages, "display_data") + of_kind(messages, "update_display_data")
    return [content["data"]["text/plain"] for content in shown]


@pytest.fixture
def slow() -> Iterator[StallingRegistry]:
    with stalling_registry() as registry:
        yield registry


def test_a_pull_shows_its_layers_and_ends_as_one_line(kernel, slow: StallingRegistry) -> None:
    request = kernel.send(PULL.format(slow.host, ""))
    messages = []
    for message in kernel.messages(request):
        messages.append(message)
        # The second: in case it is not as expected, the test is to fail, not to wait.
        if "  1.5 MB of 3.0 MB" in str(message["content"]) or len(messages) > 100:
            slow.go_on.set()
    assert of_kind(messages, "error") == []
    lines = texts(messages)
    whole = "\n".join(lines)
    assert re.search(rf"Pulling {slow.host}/slow:1  [█░]{{24}}  1\.5 MB of 3\.0 MB, ", whole)
    assert re.search(r"\n  [0-9a-f]{12}  █{5,6}░{6,7}  1\.5 MB of 3\.0 MB", whole)
    assert re.fullmatch(r"Pulled in [\d.]+ s\.", lines[-1])
    updates = of_kind(messages, "update_display_data")
    [first] = of_kind(messages, "display_data")
    assert {u["transient"]["display_id"] for u in updates} == {first["transient"]["display_id"]}
    html = "".join(content["data"]["text/html"] for content in updates)
    assert "var(--jp-brand-color1," in html


def test_an_explicit_progress_replaces_it(kernel, slow: StallingRegistry) -> None:
    slow.go_on.set()
    kernel.run("said = []")
    messages = kernel.run(PULL.format(slow.host, ", progress=lambda *line: said.append(line)"))
    assert texts(messages) == []
    [result] = of_kind(kernel.run("said[-1][1:]"), "execute_result")
    done, total = eval(result["data"]["text/plain"])
    assert done == total == slow.layer_bytes


def test_the_interrupt_button_stops_a_pull_and_leaves_nothing(
    kernel, slow: StallingRegistry
) -> None:
    request = kernel.send(PULL.format(slow.host, ""))
    assert slow.stalled.wait(240)
    messages = []
    interrupted = False
    for message in kernel.messages(request):
        messages.append(message)
        if not interrupted and "Pulling" in str(message["content"]):
            interrupted = True
            kernel.manager.interrupt_kernel()
    [error] = of_kind(messages, "error")
    plain = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(error["traceback"]))
    assert re.fullmatch(
        r"KeyboardInterrupt: stopped after [\d.]+ s; nothing was left half-done\.", plain
    )
    assert len(of_kind(messages, "display_data")) == 1
    assert re.fullmatch(r"Stopped after [\d.]+ s\.", texts(messages)[-1])
    [left] = of_kind(kernel.run(LEFT), "execute_result")
    # What has arrived is kept for the next time, under no blob's name.
    assert left["data"]["text/plain"] == "(['part'], [], [])"
    slow.go_on.set()
    messages = kernel.run(PULL.format(slow.host, ""))
    assert of_kind(messages, "error") == []


def test_calls_at_the_same_time_have_a_display_each(kernel, slow: StallingRegistry) -> None:
    pulls = [PULL.format(slow.host, f", final_image_tag={tag!r}")[13:] for tag in "ab"]
    request = kernel.send(f"import asyncio\nlen(await asyncio.gather({', '.join(pulls)}))")
    shown: set[str] = set()
    messages = []
    for message in kernel.messages(request):
        messages.append(message)
        if "Pulling" in str(message["content"]):
            shown.add(message["content"]["transient"]["display_id"])
        if len(shown) == 2 or len(messages) > 100:
            slow.go_on.set()
    assert of_kind(messages, "error") == []
    assert len(shown) == 2
    assert sum(text.startswith("Pulled in ") for text in texts(messages)) == 2


def test_a_build_and_a_push(kernel, registry: Registry) -> None:
    name = f"{registry.host}/awaited/app:1"
    messages = kernel.run(
        "image = await nbdock.build_layered_image('app', contents=nbdock.text_file('a', 'b'),\n"
        "    extra_commands='sleep 0.4')\n"
        f"str(await image.push('{name}'))"
    )
    assert of_kind(messages, "error") == []
    [result] = of_kind(messages, "execute_result")
    assert result["data"]["text/plain"].startswith(f"'{name}@sha256:")
    assert any(re.fullmatch(r"Built in [\d.]+ s\.", text) for text in texts(messages))


def test_an_interrupted_build_ends_its_commands(kernel, tmp_path: Path) -> None:
    import psutil

    request = kernel.send(
        "await nbdock.build_image('x', contents=nbdock.text_file('a', 'b'),\n"
        "    extra_commands='exec sleep 602')"
    )
    interrupted = False
    messages = []
    for message in kernel.messages(request):
        messages.append(message)
        if not interrupted and "Running extra_commands" in str(message["content"]):
            kernel.manager.interrupt_kernel()
            interrupted = True
    assert interrupted
    [error] = of_kind(messages, "error")
    assert "stopped after" in str(error["traceback"])
    [reply] = of_kind(kernel.run('__import__("os").getpid()'), "execute_result")
    children = psutil.Process(int(reply["data"]["text/plain"])).children(recursive=True)
    assert not any("602" in " ".join(child.cmdline()) for child in children)


def test_the_log_of_an_awaited_call_is_shown_and_folded_away(kernel) -> None:
    messages = kernel.run(
        "import asyncio\n"
        "from nbdock.showing import watched\n"
        "@watched('Ran')\n"
        "async def logs(*, progress=None, on_log=None):\n"
        "    for i in range(150):\n"
        "        on_log(f'<b>{i}</b>')\n"
        "    await asyncio.sleep(0.5)\n"
        "await logs()"
    )
    assert of_kind(messages, "error") == []
    [first] = of_kind(messages, "display_data")
    last = of_kind(messages, "update_display_data")[-1]
    assert "<details open>" in first["data"]["text/html"]
    assert first["data"]["text/plain"].endswith("\n<b>148</b>\n<b>149</b>")
    assert re.fullmatch(r"Ran in 0\.\d s\.", last["data"]["text/plain"])
    assert "<details><summary" in last["data"]["text/html"]
    assert "Log: the last 100 of 150 lines" in last["data"]["text/html"]
    assert "&lt;b&gt;149&lt;/b&gt;" in last["data"]["text/html"]
