"""``%layers`` and its like: what they give, what people see, what is wrong, Tab, interrupts."""

from __future__ import annotations

import asyncio
import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from IPython.core.completer import provisionalcompleter
from IPython.core.error import UsageError
from support import layers
from support.plain_images import layer
from support.registry import Registry
from support.stalling_registry import stalling_registry

import nbdock
from nbdock import concurrency
from nbdock.errors import ArgumentTypeError, ManifestNotFoundError
from nbdock.notebook.flags import TABLE_MAGICS
from nbdock.showing import watched_plain

APK = b"P:musl\nV:1\nI:9\n\n"
BASE = layers.tar([
    layers.directory("d"), layers.file("d/a", b"123" * 1000),
    layers.file("lib/apk/db/installed", APK),
])  # fmt: skip
TOP = layers.tar([layers.whiteout("d"), *(layers.file(f"f{i:03}", b"%d" % i) for i in range(60))])


@pytest.fixture
def images(cells) -> dict[str, nbdock.Image]:
    made = {"redis": layers.make_image([BASE, TOP]), "base": layers.make_image([BASE])}
    cells.names.update(made)
    return made


def seen(cells, value: object) -> tuple[str, str]:
    """What is shown of a value: text, and HTML."""
    data, _ = cells.shell.display_formatter.format(value)
    return data["text/plain"], data["text/html"]


class TestTables:
    @pytest.mark.parametrize(
        ("line", "code"),
        [
            ("layers redis", "nbdock.layer_table(redis)"),
            ("layers --details redis", "nbdock.layer_table(redis, details=True)"),
            ("layers redis base", "nbdock.layer_table([redis, base])"),
            ("layers both", "nbdock.layer_table(both)"),
            ("files redis", "nbdock.file_table(redis)"),
            ("files redis --no-hashes", "nbdock.file_table(redis, hashes=False)"),
            ("packages redis", "nbdock.package_table(redis)"),
            ("sharing redis base", "nbdock.sharing_table([redis, base])"),
            ("sharing redis --by file base",
             'nbdock.sharing_table([redis, base], by="file")'),
            ("sharing both --measure missing --by package",
             'nbdock.sharing_matrix(both, measure="missing", by="package")'),
            ("sharing redis both", "nbdock.sharing_table([redis, *both])"),
            ("compare redis base", "nbdock.compare_table(redis, base)"),
            ("compare both", "nbdock.compare_table(both[0], both[1])"),
            ("layers pair", "nbdock.layer_table(list(pair))"),
            ("files redis --platform linux/amd64",
             'nbdock.file_table(redis, platform="linux/amd64")'),
        ],
    )  # fmt: skip
    def test_a_magic_does_what_the_python_it_shows_does(self, cells, images, line, code) -> None:
        cells.names.update(both=list(images.values()), pair=tuple(images.values()))
        table = cells.value(f"%{line}")
        assert type(table) is pd.DataFrame
        text, html = seen(cells, table)
        assert text.endswith(code)
        assert code.replace('"', "&quot;") in html
        pd.testing.assert_frame_equal(table, cells.value(code))

    def test_what_is_returned_and_bound(self, cells, images) -> None:
        assert len(cells.value("x = %files redis\nx")) == 64
        assert cells.value("%files redis -o y") is cells.names["y"]

    def test_paths_and_names_of_the_notebook_first(
        self, cells, images, tmp_path: Path, monkeypatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        concurrency.run(images["base"].save("redis.tar"))
        concurrency.run(images["base"].save("a b.tar"))
        assert len(cells.value("%layers redis.tar")) == 1
        assert len(cells.value('%layers "a b.tar"')) == 1
        cells.names["where"] = tmp_path / "redis.tar"
        assert len(cells.value("%layers where")) == 1
        # A layout that is called like an image of the notebook.
        concurrency.run(images["base"].save(tmp_path / "redis", format="oci"))
        assert len(cells.value("%layers redis")) == 2
        assert len(cells.value("%layers ./redis")) == 1
        del cells.names["redis"]
        assert len(cells.value("%layers redis")) == 1

    def test_references(self, cells, registry: Registry) -> None:
        name = registry.push("table-magics/a", "1", layers=[layer({"a": b"1"})]).name
        table = cells.value(f"%files {name} --no-tls-verify")
        assert table["path"].tolist() == ["/a"]
        assert seen(cells, table)[0].endswith(f'nbdock.file_table("{name}", tls_verify=False)')
        assert isinstance(cells.error(f"%layers {name}2 --no-tls-verify"), ManifestNotFoundError)

    def test_a_stream_is_built(self, cells) -> None:
        cells.run('%%streamLayeredImage -o hello\nname = "hello"; contents = [ ];')
        table = cells.value("%layers hello")
        code = seen(cells, table)[0].splitlines()[-1]
        assert code == "nbdock.layer_table(await hello.build())"
        both = cells.value("streams = [hello, hello]\n%layers streams")
        assert len(both) == 2 * len(table)

    def test_waste_tells_the_score(self, cells, images) -> None:
        score = nbdock.efficiency(images["redis"])
        text, _ = seen(cells, cells.value("%waste redis"))
        assert f"efficiency {100 * score.score:.1f} %, 3.0 kB of 3.1 kB wasted" in text
        assert text.endswith("nbdock.waste_table(redis); nbdock.efficiency(redis)")
        dive = nbdock.efficiency(images["redis"], method="dive")
        text, _ = seen(cells, cells.value("%waste redis --dive"))
        assert f"dive efficiency {100 * dive.score:.1f} %" in text
        assert text.endswith('nbdock.efficiency(redis, method="dive")')


class TestViews:
    def test_a_function_is_shown_as_its_magic_is(self, cells, images) -> None:
        assert seen(cells, nbdock.waste_table(images["redis"]))[0] == "\n".join(
            [
                "Waste",
                "1 row",
                "",
                "path  layer    size  share             reason             by layer  by path",
                "/d/a      0  3.0 kB  100 % ██████████  directory deleted         1  /d",
            ]
        )

    def test_what_is_selected_is_shown_so_too(self, cells, images) -> None:
        table = cells.value("%files redis")
        text, html = seen(cells, table[table["path"] == "/d/a"])
        assert "1 of 64 rows" in text
        groups = seen(cells, table.groupby("layer")[["size_bytes"]].sum())[0]
        assert groups.startswith(f"Files\n{table.layer.nunique()} rows")
        assert re.search(r"/d/a  file  0644    0    0  3\.0 kB  1970-01-01 00:00:00 .* no$", text)
        assert 'title="3,000 bytes"' in html
        digest = table.set_index("path").loc["/d/a", "digest"]
        assert f'title="{digest}"' in html
        assert f">{digest[7:19]}<" in html
        assert "nbdock.file_table" not in text
        by_path = table.set_index("path")[["size_bytes"]].nlargest(2, "size_bytes")
        assert seen(cells, by_path)[0].splitlines()[3:] == [
            "path                     size",
            "/d/a                   3.0 kB",
            "/lib/apk/db/installed    16 B",
        ]
        sizes = nbdock.layer_table(images["redis"])[["size_bytes"]]
        assert "share" in seen(cells, sizes)[0]
        assert "share" not in seen(cells, sizes.head(1))[0]
        # A column that somebody adds.
        assert "twice" in seen(cells, table.assign(twice=2.5))[0]

    def test_long_tables_are_cut_and_say_so(self, cells, images) -> None:
        text, html = seen(cells, cells.value("%files redis"))
        assert text.endswith("\n\n… 24 more rows; nbdock.file_table(redis)")
        assert html.count("<tr>") == 41
        assert "<script" not in html
        assert "<style" not in html
        assert "var(--jp-" in html
        assert "text-align:right" in html

    def test_matrix_and_differences(self, cells, images) -> None:
        cells.names["table"] = cells.value("%sharing redis base --measure shared")
        assert seen(cells, cells.names["table"])[0].splitlines()[3].startswith("has ↓ wants →")
        head = seen(cells, cells.value("%compare redis base"))[0].splitlines()[3]
        assert head.endswith("before  after  before size  after size")

    def test_what_is_no_such_table_is_pandas_own(self, cells, images) -> None:
        files = nbdock.file_table(images["redis"])
        frames = [
            pd.DataFrame({"size_bytes": [5000]}), files.describe(), files.T,
            files.pivot_table(index="kind", columns=["change", "layer"], values="size_bytes",
                              observed=True),
            pd.concat([files, pd.DataFrame({"x": [1]})]),
            files.groupby("kind", observed=True).size_bytes.agg(["sum", "max"]),
        ]  # fmt: skip
        for frame in frames:
            plain = frame.copy()
            plain.attrs = {}
            text, html = seen(cells, frame)
            assert (text, html) == (repr(frame), frame._repr_html_())
        assert seen_text_of_list(cells, files) == repr([files])

    def test_nothing_to_show(self, cells, images) -> None:
        files = nbdock.file_table(images["redis"])
        assert seen(cells, files[files["path"] == "/none"])[0] == "Files\n0 of 64 rows"

    def test_hostile_names_are_escaped(self, cells) -> None:
        name = "<img src=x onerror=alert(1)>\n"
        cells.names["image"] = layers.make_image([layers.tar([layers.file(name, b"x")])])
        text, html = seen(cells, cells.value("%files image"))
        assert "<img" not in html
        assert "onerror=alert(1)> " in text

    def test_marks_are_kept_in_parquet(self, cells, images, tmp_path: Path) -> None:
        table = cells.value("%layers redis")
        table.to_parquet(tmp_path / "x.parquet")
        again = pd.read_parquet(tmp_path / "x.parquet")
        assert again.attrs == json.loads(json.dumps(table.attrs))

    def test_unloading_leaves_pandas_alone(self, cells, images) -> None:
        table = nbdock.layer_table(images["redis"])
        cells.run("%unload_ext nbdock")
        text, html = seen(cells, table)
        assert (text, html) == (repr(table), table._repr_html_())
        line_magics = cells.shell.magics_manager.magics["line"]
        assert not set(TABLE_MAGICS) & set(line_magics)
        cells.run("%load_ext nbdock")
        assert set(TABLE_MAGICS) <= set(line_magics)


def seen_text_of_list(cells, frame: pd.DataFrame) -> str:
    data, _ = cells.shell.display_formatter.format([frame])
    return str(data["text/plain"])


class TestWhatIsWrong:
    @pytest.mark.parametrize(
        ("line", "said"),
        [
            ("%layers", "%layers takes images, for example %layers redis"),
            ("%sharing", "for example %sharing redis nginx"),
            ("%layers rediss", "Did you mean redis? For the image of that name in a registry"),
            ("%layers rediss", "in a registry, write docker://rediss"),
            ("%layers redis --detials", "%layers has no flag '--detials'. Did you mean --details?"),
            ("%files redis --details", "%files has no flag '--details'. Flags: --no-hashes,"),
            ("%files redis base", "%files takes one image, not redis base."),
            ("%files both", "%files takes one image, not both."),
            ("%compare redis", "%compare takes two images, not redis."),
            ("%compare redis base redis", "takes two images"),
            ("%layers number", "number is no image: its type is int. For the image of that name"),
            ("%layers number", "in a registry, write docker://number"),
            ("%layers job", "job is still being built; wait for it with await job."),
            ("%layers 'redis", "no closing quotation"),
            ("%layers redis -o for", "'for' is not a name that Python can bind"),
            ("%sharing redis --by", "expected one argument"),
        ],
    )  # fmt: skip
    def test_usage(self, cells, images, line: str, said: str) -> None:
        cells.names.update(number=1, both=list(images.values()))
        if "job" in line:
            cells.names["job"] = nbdock.Job.__new__(nbdock.Job)
        error = cells.error(line)
        cells.names.pop("job", None)
        assert isinstance(error, UsageError)
        assert said in str(error)

    def test_values_are_the_functions_matter(self, cells, images) -> None:
        error = cells.error("%sharing redis base --by pakage")
        assert isinstance(error, ArgumentTypeError)
        assert "Did you mean 'package'?" in cells.rendered(error)

    def test_help_has_an_example(self, cells, capsys) -> None:
        for magic in TABLE_MAGICS:
            cells.run(f"%{magic}?")
            assert f"    %{magic} redis" in capsys.readouterr().out


class TestCompletion:
    def complete(self, cells, text: str) -> list[str]:
        with provisionalcompleter():
            found = cells.shell.Completer.completions(text, len(text))
            return [text[: c.start] + c.text for c in found]

    @pytest.mark.parametrize(
        ("text", "found"),
        [
            ("%layers re", ["%layers redis", "%layers redis.tar"]),
            ("%layers --de", ["%layers --details"]),
            ("x = %files redis --no-h", ["x = %files redis --no-hashes"]),
            ("%sharing redis b", ["%sharing redis base", "%sharing redis both"]),
            ("%sharing redis --by ", [f"%sharing redis --by {w}" for w in ("file", "layer",
                                                                         "package")]),
            ("%sharing --measure m", ["%sharing --measure missing"]),
            ("%compare dir/", ["%compare dir/one.tar.gz", "%compare dir/sub/"]),
            ("%compare ./dir/o", ["%compare ./dir/one.tar.gz"]),
        ],
    )  # fmt: skip
    def test_what_is_offered(
        self, cells, images, tmp_path: Path, monkeypatch, text: str, found: list[str]
    ) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "dir" / "sub").mkdir(parents=True)
        for name in ("redis.tar", "redis.txt", "dir/one.tar.gz", "dir/.hidden.tar"):
            (tmp_path / name).touch()
        cells.names.update(both=list(images.values()), rest=[1], red=1)
        assert sorted(self.complete(cells, text)) == found

    def test_everything(self, cells, images, tmp_path: Path, monkeypatch) -> None:
        monkeypatch.chdir(tmp_path)
        offered = self.complete(cells, "%waste ")
        assert {"%waste redis", "%waste base", "%waste --dive", "%waste -o"} <= set(offered)


# In a real kernel


def of_kind(messages: list[dict[str, Any]], kind: str) -> list[Any]:
    return [m["content"] for m in messages if m["msg_type"] == kind]


def test_functions_show_how_they_go_where_somebody_waits(cells, capsys, monkeypatch) -> None:
    monkeypatch.setenv("NBDOCK_PROGRESS_DELAY_S", "0")

    @watched_plain("Read")
    def read(*, progress: Any = None) -> str:
        concurrency.run(asyncio.sleep(0.25))
        return type(progress).__name__

    def told(**arguments: object) -> str:
        name = read(**arguments)
        return f"{name}: {re.sub('[0-9.]+ s', 'N s', capsys.readouterr().err)}"

    def elsewhere() -> list[str]:
        with ThreadPoolExecutor(1) as pool:
            return [pool.submit(told).result()]

    assert told() == "ProgressLine: Read in N s.\n"
    assert told(progress=print) == "builtin_function_or_method: "
    assert elsewhere() == ["NoneType: "]
    cells.run("%unload_ext nbdock")
    assert told() == "NoneType: "
    cells.run("%load_ext nbdock")


def test_in_a_kernel(kernel) -> None:
    """Progress, an interrupt, one display of one table, and nothing that holds it up."""
    with stalling_registry() as registry:
        request = kernel.send(f"%files {registry.host}/slow:1 --platform linux/amd64 -o files")
        messages = []
        for message in kernel.messages(request):
            messages.append(message)
            if " MB of 3.0 MB" in str(message["content"]) and not registry.go_on.is_set():
                kernel.manager.interrupt_kernel()
                registry.go_on.set()
        [error] = of_kind(messages, "error")
        assert error["ename"] == "KeyboardInterrupt"
        assert "nothing was left half-done" in "\n".join(error["traceback"])
        assert "Pulling" in str([*of_kind(messages, "display_data"), *messages])
        last = of_kind(messages, "update_display_data")[-1]["data"]["text/plain"]
        assert re.fullmatch(r"Stopped after [\d.]+ s\.", last)
        messages = kernel.run(
            f"t = %files {registry.host}/slow:1 --platform linux/amd64\nt.head(3)"
        )
        [result] = of_kind(messages, "execute_result")
        assert set(result["data"]) == {"text/plain", "text/html"}
        assert result["data"]["text/plain"].startswith("Files\n1 row")
