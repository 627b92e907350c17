"""Images that are nix-shells: the cases of nixpkgs' ``docker-tools-nix-shell.nix``, and refusals.

The derivations have a small stdenv of their own: a setup that finds programs and knows hooks.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.engine import Engine
from support.nix import Nix

import nbdock
from nbdock.errors import ArgumentError, ArgumentTypeError, NixError, UnavailableError
from nbdock.images import Image, nix_shell_arguments
from nbdock.packages.nix import LocalStore, NixPackageSet

SHELL_NIX = r"""
{ extra ? { }, inNixShell ? false }:
let
  pkgs = import <nixpkgs> { };
  bash = "${pkgs.bash}/bin/bash";
  setup = builtins.toFile "setup" ''
    set -e
    PATH=
    for each in $nativeBuildInputs $initialPath; do PATH=$PATH''${PATH:+:}$each/bin; done
    runHook() { eval "''${!1}"; }
  '';
  stdenv = derivation {
    name = "stdenv";
    inherit (pkgs) system;
    builder = bash;
    # The last command is not one that bash becomes: that would close its output before it ends,
    # which Nix takes for the end, and kills it.
    args = [ "-c" "$coreutils/bin/mkdir $out; $coreutils/bin/cp $setup $out/setup; exit" ];
    inherit (pkgs) coreutils;
    inherit setup;
  };
in
derivation ({
  name = "greeting-1.0";
  inherit (pkgs) system;
  builder = bash;
  args = [ "-e" (builtins.toFile "builder.sh" ''
    source $stdenv/setup
    mkdir -p $out/bin
    echo "#!$SHELL_PATH
    $(cat $greetingPath) from $PWD as $(id -un)" >$out/bin/greeting
    chmod +x $out/bin/greeting
  '') ];
  inherit stdenv;
  initialPath = [ pkgs.coreutils ];
  nativeBuildInputs = [ pkgs.hello ];
  greeting = "echo 'Hello, \"built\" world'";
  passAsFile = [ "greeting" ];
  SHELL_PATH = bash;
  shellHook = "echo 'This is the shell hook!'";
  asked = toString inNixShell;
} // extra)
"""


@pytest.fixture(autouse=True)
def _nixpkgs(local_nix: Nix, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nbdock.packages.default_nixpkgs", NixPackageSet, raising=False)


@pytest.fixture
def shell_nix(tmp_path: Path) -> Path:
    path = tmp_path / "shell.nix"
    path.write_text(SHELL_NIX)
    return path


async def loaded(engine: Engine, directory: Path, drv: Any, **arguments: Any) -> Image:
    """An image of this derivation in an engine, as ``shell:1``."""
    image = await nbdock.build_nix_shell_image(drv, name="shell", tag="1", **arguments)
    assert engine.load(await image.save(directory / "image.tar")) == ["shell:1"]
    return image


def in_terminal(engine: Engine) -> list[str]:
    """What the image's own command says in a terminal: the lines of an interactive shell."""
    return engine("run", "--rm", "-t", "--network", "none", "shell:1").stdout.splitlines()


def with_extra(path: Path, **attributes: str) -> Path:
    """The same derivation with other attributes, given as expressions."""
    text = " ".join(f"{name} = {value};" for name, value in attributes.items())
    other = path.with_name("other.nix")
    other.write_text(f"import {path} {{ inNixShell = true; extra = {{ {text} }}; }}")
    return other


@pytest.mark.engine
async def test_basic_build(
    shell_nix: Path, docker_engine: Engine, local_nix: Nix, tmp_path: Path
) -> None:
    """Can build a basic derivation; the home directory is writable by default."""
    image = await loaded(docker_engine, tmp_path, shell_nix)
    out = json.loads(local_nix.run(
        "nix-instantiate", "--eval", "--json", "-E",
        f"(import {shell_nix} {{ inNixShell = true; }}).outPath",
    ))  # fmt: skip
    assert out not in {package.root for package in image.closure.packages}
    # As nixpkgs' test has it: bash and buildDerivation are found without a shell of ours.
    built = docker_engine.run("shell:1", "bash", "-c", "buildDerivation && $out/bin/greeting")
    assert built == 'Hello, "built" world from /build as nixbld\n'
    say = 'buildDerivation; echo "$out:$name:$HOME:$PWD:$NIX_STORE:$TMPDIR:$asked:$greeting"'
    said = docker_engine.run("shell:1", "bash", "-c", f"{say}; echo x >~/x; pwd")
    assert said == f"{out}:greeting-1.0:/build:/build:/nix/store:/build:1:\n/build\n"
    look = """
      source $stdenv/setup; stat -c "%A %u %n" /nix/store /build $SSL_CERT_FILE
      /usr/bin/env true; ls -d $out || tail -n 2 /etc/passwd
    """
    checked = docker_engine.run("shell:1", "/bin/sh", "-c", look)
    assert checked.splitlines() == [
        "drwxrwxrwt 0 /nix/store",
        "drwxr-xr-x 1000 /build",
        f"-r--r--r-- 0 {local_nix.build('cacert')}/etc/ssl/certs/ca-bundle.crt",
        "nixbld:x:1000:1000:Build user:/build:/noshell",
        "nobody:x:65534:65534:nobody:/var/empty:/bin/sh",
    ]


@pytest.mark.engine
async def test_shell_hook_inputs_and_pass_as_file(
    shell_nix: Path, docker_engine: Engine, tmp_path: Path
) -> None:
    """Runs the shell hook; sources stdenv, making build inputs available; passAsFile works."""
    hook = """''
      echo "This is the shell hook!"
      hello
      cat $greetingPath; echo
      echo $SHELL $BASH
      exit
    ''"""
    image = await loaded(docker_engine, tmp_path, with_extra(shell_nix, shellHook=hook))
    bash = image.config.config.cmd[0]
    assert in_terminal(docker_engine) == [
        "This is the shell hook!",
        "Hello, world!",
        "echo 'Hello, \"built\" world'",
        f"{bash} {bash}",
    ]


INTERACTIVE = """
case "$-" in
  *i*) echo This shell is interactive ;;
  *) echo This shell is not interactive ;;
esac
hello; false
"""


@pytest.mark.engine
@pytest.mark.parametrize(("argument", "kind"), [("command", "interactive"), ("run", "not int")])
async def test_run_and_command(
    argument: str, kind: str, shell_nix: Path, docker_engine: Engine, tmp_path: Path
) -> None:
    await loaded(docker_engine, tmp_path, shell_nix, **{argument: INTERACTIVE})
    done = docker_engine("run", "--rm", "-t", "--network", "none", "shell:1", check=False)
    hook, interactive, hello = done.stdout.splitlines()[:3]
    assert hook == "This is the shell hook!"
    assert interactive.startswith(f"This shell is {kind}")
    assert hello == "Hello, world!"
    assert done.returncode == 1  # of the last command, as in nix-shell


@pytest.mark.engine
async def test_another_user_with_a_home_that_does_not_exist(
    shell_nix: Path, docker_engine: Engine, tmp_path: Path
) -> None:
    """The home directory can be made non-existent."""
    await loaded(
        docker_engine, tmp_path, shell_nix, uid=1234, gid=4321, home_directory="/homeless-shelter",
        run="""
          [ "$HOME" = "$(eval "echo ~$(whoami)")" ] && echo the same home
          [ -e "$HOME" ] || echo no home
          id
          buildDerivation && "$out/bin/greeting"
        """,
    )  # fmt: skip
    assert docker_engine.run("shell:1").splitlines()[1:] == [
        "the same home",
        "no home",
        "uid=1234(nixbld) gid=4321(nixbld) groups=4321(nixbld)",
        'Hello, "built" world from /build as nixbld',
    ]


# What a derivation may be given as, and what is refused


async def test_a_package_a_file_and_a_drv_are_the_same(
    shell_nix: Path, local_nix: Nix, tmp_path: Path
) -> None:
    path = local_nix.run("nix-instantiate", "-A", "hello", local_nix.nixpkgs).split()[0]
    file = tmp_path / "default.nix"
    file.write_text("(import <nixpkgs> { }).hello")
    shell_nix.unlink()
    images = [
        await nbdock.build_nix_shell_image(drv, tag="1")
        for drv in (NixPackageSet()["hello"], str(path), file, tmp_path)
    ]
    assert len({image.id for image in images}) == 1
    assert images[0].name.startswith("hello-2.")
    built = LocalStore()[local_nix.build("hello")]
    assert (await nbdock.build_nix_shell_image(built, tag="1")).id == images[0].id


async def test_a_shell_of_ones_own(shell_nix: Path, local_nix: Nix) -> None:
    bash = local_nix.build("bash")
    by_path, by_package = [
        await nbdock.build_nix_shell_image(shell_nix, tag="1", shell=shell)
        for shell in (f"{bash}/bin/bash", NixPackageSet()["bash"])
    ]
    assert by_path.config.config.cmd[0] == f"{bash}/bin/bash"
    assert by_path.id == by_package.id


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"run": "a", "command": "b"}, ArgumentError, "command and run were both given"),
        ({"uid": -1}, ArgumentTypeError, "uid must be from 0"),
        ({"gid": "1"}, ArgumentTypeError, "gid must be a number"),
        ({"run": 1}, ArgumentTypeError, "run must be a string"),
        ({"home_directory": "build"}, ArgumentTypeError, "home_directory must be an absolute path"),
        ({"home_directory": "/a:b"}, ArgumentTypeError, "home_directory must be an absolute path"),
        ({"shell": "bash"}, ArgumentTypeError, "shell must be the path of a bash"),
        ({"drv": 7}, ArgumentTypeError, "7 is no derivation"),
        ({"drv": "/no/such/shell.nix"}, ArgumentTypeError, "no file '/no/such/shell.nix'"),
        ({"drv": "/etc/a.drv"}, ArgumentTypeError, "not a path in the store"),
        ({"drv": nbdock.fake_nss}, ArgumentTypeError, "what fake-nss was built with"),
        ({"runn": "a"}, nbdock.errors.UnknownArgumentError, "no argument 'runn'"),
    ],
)
async def test_arguments_that_cannot_be_used_are_refused(
    arguments: dict[str, Any], error: type[Exception], message: str, shell_nix: Path
) -> None:
    with pytest.raises(error, match=message):
        await nbdock.build_nix_shell_image(**{"drv": shell_nix, **arguments})


PLAIN = 'with import <nixpkgs> { }; derivation { name = "x"; builder = "x"; inherit system;'


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("import <nixpkgs> { ", NixError, "syntax error"),
        ('throw "on purpose"', NixError, "on purpose"),
        ("let pkgs = import <nixpkgs> { }; in [ pkgs.hello pkgs.bash ]", ArgumentTypeError,
         "gives 2 derivations"),
        ('derivation { name = "x"; builder = "x"; system = "x86_64-darwin"; }', ArgumentTypeError,
         "built on x86_64-darwin, and containers run Linux"),
        (f"{PLAIN} __structuredAttrs = true; }}", ArgumentError, "x uses structured attributes"),
        (f'{PLAIN} input = runCommand "broken" {{ }} "false"; }}', NixError, "cannot build broken"),
    ],
)  # fmt: skip
async def test_derivations_that_cannot_be_shells(
    text: str, error: type[Exception], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "wrong.nix"
    path.write_text(text)
    with pytest.raises(error, match=message):
        await nbdock.build_nix_shell_image(path)


async def test_it_needs_nix(
    shell_nix: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("nbdock.packages.nix.local.command._PLACES", ())
    with pytest.raises(UnavailableError, match="no nix-instantiate"):
        await nbdock.build_nix_shell_image(shell_nix)


async def test_a_plan_without_a_byte_read(shell_nix: Path) -> None:
    """What a cell's --dry-run shows: the same packages as in the image."""
    arguments = await nix_shell_arguments(shell_nix, tag="1", max_layers=20)
    plan = await nbdock.plan_layers(arguments["contents"], max_layers=arguments["max_layers"])
    image = await nbdock.build_layered_image(**arguments)
    assert image.plan == plan
    assert len(plan.layers) < 20
    names = {package.name for layer in plan.layers for package in layer}
    assert {"nix-shell", "nix-shell-rc", "buildDerivation", "pass-as-file", "hello"} < names


async def test_the_stream_is_the_same_archive(shell_nix: Path, tmp_path: Path) -> None:
    stream = await nbdock.stream_nix_shell_image(shell_nix, repo_tag="streamed:2", run="true")
    streamed = b"".join([piece async for piece in stream])
    image = await nbdock.build_nix_shell_image(shell_nix, name="streamed", tag="2", run="true")
    saved = await image.save(tmp_path / "image.tar", compression="none")
    assert streamed == saved.read_bytes()


async def test_names_of_files_lead_nowhere(shell_nix: Path) -> None:
    """`passAsFile` is text of the derivation, which may say anything."""
    hostile = with_extra(shell_nix, passAsFile='[ "../../up" "a/b" "twice" "twice" "missing" ]',
                         **{'"../../up"': '"x"', '"a/b"': '"y"', "twice": '"z"'})  # fmt: skip
    arguments = await nix_shell_arguments(hostile)
    closure = await nbdock.closure(arguments["contents"])
    (passed,) = [p for p in closure.packages if p.name == "pass-as-file"]
    assert [(e.path, e.read()) for e in passed.entries() if e.path] == [(b"twice", b"z")]
    assert {f"twicePath={passed}/twice", "a/b=y"} < set(arguments["config"]["Env"])
