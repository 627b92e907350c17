"""Build cells in their own language, and all other cells as they are without nbdock."""

from __future__ import annotations

from playwright.sync_api import Locator, expect

BUILD = """%%buildLayeredImage -o redis
# Redis, small
name = "redis-${version}";
contents = with pkgs; [ redis ./conf (textFile "etc/motd" "hi") ];
runAsRoot = ''
  mkdir -p /data # here
  if test -n "$HOME"; then chown ${user}:redis /data; fi
  echo ''${HOME}
'';
description = ''
  no script: if then fi
'';
config = { Cmd = [ "/bin/redis-server" ]; N = 16; Tty = true; };
"""
ROOT = """%%runAsRoot redis --tag two
for user in redis; do
  useradd -r "$user" # no Nix: ''
done
"""
PYTHON = """import os  # ''
name = "redis" if os else None
"""

# A token's kind by its colour, which is that of one of the theme's variables.
_TOKENS = """(cell) => {
  const probe = document.body.appendChild(document.createElement("span"));
  const colour = (kind) => {
    probe.style.color = `var(--jp-mirror-editor-${kind}-color)`;
    return getComputedStyle(probe).color;
  };
  const kinds = Object.fromEntries(
    ["punctuation", "property", "attribute", "bracket", "comment", "def", "keyword", "meta",
     "number", "operator", "string", "string-2", "variable-2", "atom"]
      .map((kind) => [colour(kind), kind]));
  probe.remove();
  return [...cell.querySelectorAll(".cm-line > span")].map((token) =>
    [token.textContent.trim(), kinds[getComputedStyle(token).color] ?? ""]);
}"""


def tokens(cell: Locator) -> list[tuple[str, str]]:
    """The words of a cell that have a colour, and which."""
    return [(text, kind) for text, kind in cell.evaluate(_TOKENS)]


def test_cells_are_in_the_language_of_their_magic(lab) -> None:
    cells = {text: lab.write(text) for text in (BUILD, ROOT, PYTHON)}
    languages = [cell.locator(".cm-content") for cell in cells.values()]
    for content, name in zip(languages, ["nix", "shell", "python"], strict=True):
        expect(content).to_have_attribute("data-language", name)
    lab.screenshot("highlighting")

    found = tokens(cells[BUILD])
    for token in [
        ("%%buildLayeredImage", "meta"), ("-o", "attribute"), ("# Redis, small", "comment"),
        ("name", "property"), ('"redis-', "string"), ("${", "bracket"), ("with", "keyword"),
        ("./conf", "string-2"), ("[", "bracket"), ("=", "operator"),
        ("-p", "attribute"), ("# here", "comment"), ("if", "keyword"), ("$HOME", "variable-2"),
        ("fi", "keyword"), ("''${", "string-2"), ("no script: if then fi", "string"),
        ("Cmd", "property"), ("16", "number"), ("true", "atom"),
    ]:  # fmt: skip
        assert token in found
    # A name has no colour, neither in Nix nor where Nix is put into a script.
    assert not {"pkgs", "redis", "user", "mkdir"} & {text for text, _ in found}

    found = tokens(cells[ROOT])
    for token in [
        ("%%runAsRoot", "meta"), ("--tag", "attribute"), ("for", "keyword"), ("in", "keyword"),
        ("$user", "variable-2"), ("# no Nix: ''", "comment"), ("done", "keyword"),
    ]:  # fmt: skip
        assert token in found

    found = tokens(cells[PYTHON])
    assert found == [
        ("import", "keyword"), ("# ''", "comment"), ("=", "operator"), ('"redis"', "string"),
        ("if", "keyword"), ("else", "keyword"), ("None", "keyword"),
    ]  # fmt: skip


def test_the_language_follows_what_is_written(lab) -> None:
    cell, keyboard = lab.write(""), lab.page.keyboard
    content = cell.locator(".cm-content")
    expect(content).to_have_attribute("data-language", "python")
    content.click()
    keyboard.type("%%buildImage")
    expect(content).to_have_attribute("data-language", "nix")
    keyboard.type("s")
    expect(content).to_have_attribute("data-language", "python")
    keyboard.press("Backspace")
    expect(content).to_have_attribute("data-language", "nix")
    keyboard.press("Control+z")
    expect(content).to_have_attribute("data-language", "python")


def test_nix_is_written_as_nix_is(lab) -> None:
    cell, page = lab.write("%%buildImage"), lab.page
    content = cell.locator(".cm-content")
    content.click()
    page.keyboard.press("Control+End")
    for line in [
        "", "name =", '"x";', "config = {", "Volumes = {", "};", "}; runAsRoot = ''", "mkdir /data",
        "if true; then", "''; contents = with pkgs; [", "redis", "];",
    ]:  # fmt: skip
        page.keyboard.type(line)
        page.keyboard.press("Enter")
    page.keyboard.type("tag = let")
    page.keyboard.press("Enter")
    page.keyboard.type('a = "1";')
    page.keyboard.press("Enter")
    page.keyboard.type("in a;")
    written = """%%buildImage
name =
  "x";
config = {
  Volumes = {
  };
}; runAsRoot = ''
  mkdir /data
  if true; then
''; contents = with pkgs; [
  redis
];
tag = let
  a = "1";
in a;"""
    assert lines(cell) == written.split("\n")


def test_comments_and_brackets(lab) -> None:
    cell, page = lab.write('%%buildImage\nconfig = { Cmd = [ "a" ]; };'), lab.page
    cell.locator(".cm-content").click()
    page.keyboard.press("Control+End")
    page.keyboard.press("ArrowLeft")
    matching = cell.locator(".cm-matchingBracket")
    expect(matching).to_have_text(["{", "}"])
    page.keyboard.press("Control+/")
    assert lines(cell)[1] == '# config = { Cmd = [ "a" ]; };'
    page.keyboard.press("Control+/")
    assert lines(cell)[1] == 'config = { Cmd = [ "a" ]; };'


def lines(cell: Locator) -> list[str]:
    return [line.rstrip("\n") for line in cell.locator(".cm-line").all_inner_texts()]
