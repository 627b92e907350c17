"""Jobs under their cells: the log as it comes, and a button that stops them while they run."""

from __future__ import annotations

import os
import re

import pytest
from playwright.sync_api import expect


def test_a_job_shows_its_log_and_is_cancelled(nbdock_lab) -> None:
    output = nbdock_lab.run(
        "import asyncio\n"
        "async def work(report):\n"
        '    report("Counting", 3, 10)\n'
        "    for number in range(100):\n"
        '        report.log(f"line {number}")\n'
        "    await asyncio.Event().wait()\n"
        'job = nbdock.Job("count", work)\n'
        "job"
    )
    expect(output.get_by_role("group", name="Job count")).to_be_visible()
    log = output.get_by_role("log")
    expect(log).to_contain_text("line 99")
    nbdock_lab.screenshot("job")
    nbdock_lab.theme("dark")
    nbdock_lab.screenshot("job-dark")
    # It shows its end, and can be scrolled by keyboard.
    bottom = "log => log.scrollHeight - log.clientHeight - log.scrollTop < 8"
    assert log.evaluate(bottom)
    log.focus()
    nbdock_lab.page.keyboard.press("Home")
    expect(output.get_by_text("line 0", exact=True)).to_be_in_viewport()
    output.get_by_role("button", name="Cancel count").click()
    expect(output).to_contain_text(re.compile(r"cancelled", re.IGNORECASE))
    expect(output.get_by_role("button")).to_have_count(0)
    expect(nbdock_lab.run("job.state.value")).to_contain_text("cancelled")
    nbdock_lab.screenshot("job-cancelled")


def test_a_cell_that_waits_is_cancelled_by_its_button(nbdock_lab, tmp_path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)  # that nobody opens
    output = nbdock_lab.start(
        '%%buildImage -o slow\nname = "slow"; contents = [ (textFile "a" "b") ];\n'
        f'extraCommands = "echo $$ > {tmp_path}/pid; cat {gate}";'
    )
    button = output.get_by_role("button", name="Cancel slow")
    expect(output).to_contain_text("Running extraCommands")
    expect(button).to_be_visible()
    nbdock_lab.screenshot("build-runs")
    button.click()
    nbdock_lab.wait()
    expect(output).to_contain_text(re.compile(r"cancelled after [\d.]+ s"))
    nbdock_lab.screenshot("build-cancelled")
    process = int((tmp_path / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


def test_a_machine_is_cancelled_while_its_script_runs(nbdock_lab) -> None:
    nbdock_lab.run('%%buildImage -o base\nname = "base"; contents = [ apt.busybox-static ];')
    output = nbdock_lab.start(
        "%%runAsRoot base -o changed\necho I am $(id -u)\nwhile :; do :; done"
    )
    expect(output.get_by_role("log")).to_contain_text("I am 0")
    nbdock_lab.screenshot("machine")
    output.get_by_role("button", name="Cancel changed").click()
    nbdock_lab.wait()
    expect(output).to_contain_text(re.compile(r"cancelled after"))
    left = nbdock_lab.run(
        "import psutil, os\n"
        "[p.name() for p in psutil.Process(os.getpid()).children(recursive=True)\n"
        ' if "qemu" in p.name()]'
    )
    expect(left).to_contain_text("[]")
