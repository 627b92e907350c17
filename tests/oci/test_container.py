"""What a person writes as `config`: read as meant, or refused with the way to write it."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbdock.errors import ArgumentTypeError, UnknownArgumentError
from nbdock.oci import ContainerConfig, Healthcheck, ImageConfig, merge_env


def test_the_manual_s_example():
    config = ContainerConfig.from_mapping(
        {"Cmd": ["/bin/redis-server"], "WorkingDir": "/data", "Volumes": {"/data": {}}}
    )
    assert config == ContainerConfig(
        cmd=("/bin/redis-server",), working_dir="/data", volumes={"/data": {}}
    )
    written = json.loads(ImageConfig("amd64", config=config).to_bytes())["config"]
    assert written == {
        "Cmd": ["/bin/redis-server"], "Volumes": {"/data": {}}, "WorkingDir": "/data",
    }  # fmt: skip


def test_every_field():
    given_fields = {
        "User": "1000:redis",
        "ExposedPorts": {"6379/tcp": {}, "53/udp": {}, "80": None, "9-10": {}},
        "Env": ["A=b", "EMPTY=", "X=a=b"], "Entrypoint": [], "Cmd": ("a", "b"),
        "Volumes": {"/v": {}}, "WorkingDir": "", "Labels": {"l": "", "é": "ü"},
        "StopSignal": "SIGRTMIN+3", "StopTimeout": 0, "ArgsEscaped": True, "Memory": 1,
        "MemorySwap": -1, "CpuShares": 2, "OnBuild": ["RUN x"], "Shell": ["/bin/sh", "-c"],
        "Healthcheck": {"Test": ["CMD", "x"], "Interval": 30_000_000_000, "Retries": 3},
        "Hostname": "h", "Tty": True, "Frobnicate": {"x": [1, 2.5, None, True]}, "Image": None,
    }  # fmt: skip
    config = ContainerConfig.from_mapping(given_fields)
    assert config.exposed_ports == {"6379/tcp": {}, "53/udp": {}, "80": {}, "9-10": {}}
    assert config.healthcheck == Healthcheck(
        test=("CMD", "x"), interval_ns=30_000_000_000, retries=3
    )
    assert config.entrypoint == ()
    assert config.stop_timeout_s == 0
    assert config.extra == {"Hostname": "h", "Tty": True, "Frobnicate": {"x": (1, 2.5, None, True)}}
    written = json.loads(ImageConfig("amd64", config=config).to_bytes())["config"]
    expected = json.loads(json.dumps(given_fields)) | {"ExposedPorts": dict(config.exposed_ports)}
    for absent in ("WorkingDir", "Image"):
        del expected[absent]
    assert written == json.loads(json.dumps(expected, default=dict))


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("cmd", "Cmd"),
        ("CMD", "Cmd"),
        ("Entrypint", "Entrypoint"),
        ("entry_point", "Entrypoint"),
        ("EntryPoint", "Entrypoint"),
        ("env", "Env"),
        ("Environment", "Env"),
        ("Command", "Cmd"),
        ("ports", "ExposedPorts"),
        ("ExposedPort", "ExposedPorts"),
        ("WorkDir", "WorkingDir"),
        ("workingDir", "WorkingDir"),
        ("Volume", "Volumes"),
        ("HealthCheck", "Healthcheck"),
        ("label", "Labels"),
    ],
)
def test_misspelt_field(name, meant):
    with pytest.raises(UnknownArgumentError) as caught:
        ContainerConfig.from_mapping({name: None})
    assert caught.value.argument == f"config.{name}"
    assert caught.value.hint == f"Did you mean {meant}?"


@pytest.mark.parametrize("name", ["Frobnicate", "Runtime2", "x-y"])
def test_unknown_field_near_nothing_is_kept(name):
    assert ContainerConfig.from_mapping({name: {"a": 1}}).extra == {name: {"a": 1}}


@pytest.mark.parametrize(
    ("field", "value", "message", "hint"),
    [
        ("Cmd", "/bin/sh", "is a list of strings, not a string", 'Cmd = [ "/bin/sh" ];'),
        ("Cmd", {"a": 1}, "is a list of strings, not a set", None),
        ("Cmd", 7, "is a list of strings, not a number", None),
        ("Cmd", ["a", 80], "[1] is a number", 'Write "80"'),
        ("Cmd", ["a", None], "[1] is null", None),
        ("Cmd", [["a"]], "[0] is a list", None),
        ("Cmd", [True], "[0] is true", None),
        ("Cmd", ["a\0"], "[0]: a NUL character", None),
        ("Cmd", ["a", "\ud800"], "[1]: half a character", None),
        ("User", "\udc80", "half a character", None),
        ("Labels", {"\udc80": ""}, "half a character", None),
        ("Labels", {"a": "\0"}, "NUL character", None),
        ("Volumes", {"/\udc80": {}}, "half a character", None),
        ("Frobnicate", ["\udc80"], "half a character", None),
        ("Entrypoint", 'say "hi"', "not a string", r'[ "say \"hi\"" ]'),
        ("Env", {"A": "b", "C": 1}, "is a list of strings, not a set", '[ "A=b" "C=1" ]'),
        ("Env", ["PATH"], 'no NAME=value at [0]: "PATH"', 'Write "PATH=value"'),
        ("Env", ["=x"], "no NAME=value", 'Write "x=value"'),
        ("ExposedPorts", ["80", "443/tcp"], "is a set whose values are empty sets, not a list",
         'ExposedPorts = { "80" = {}; "443/tcp" = {}; };'),
        ("ExposedPorts", [], "not a list", '"6379/tcp" = {};'),
        ("ExposedPorts", 80, "not a number", '{ "80" = {}; }'),
        ("ExposedPorts", {"http": {}}, 'no port at "http"', "port/tcp"),
        ("ExposedPorts", {"0": {}}, 'no port at "0"', "1 to 65535"),
        ("ExposedPorts", {"70000/tcp": {}}, 'no port at "70000/tcp"', "1 to 65535"),
        ("ExposedPorts", {"9-8": {}}, 'no port at "9-8"', "1 to 65535"),
        ("ExposedPorts", {"80/quic": {}}, "no port at", "port/sctp"),
        ("Volumes", ["/data"], "not a list", 'Volumes = { "/data" = {}; };'),
        ("Volumes", {"data": {}}, 'no absolute path at "data"', '"/data" = {};'),
        ("Volumes", {"/data": "/host"}, '"/data" has a string', '"/data" = {};'),
        ("Volumes", {"/data": {"a": 1}}, '"/data" has a set', '"/data" = {};'),
        ("WorkingDir", "data", 'is an absolute path, not "data"', 'Write "/data"'),
        ("WorkingDir", ["/data"], "is a string, not a list", None),
        ("User", 1000, "is a string, not a number", 'User = "1000";'),
        ("Labels", {"a": 1}, '"a" is a number', 'Write "a" = "1";'),
        ("Labels", ["a=b"], "is a set of strings, not a list", '"key" = "value"'),
        ("StopSignal", 9, "is a string, not a number", 'StopSignal = "9";'),
        ("StopSignal", "kill it", "is no signal", "SIGTERM"),
        ("Tty", "yes", "is true or false, not a string", None),
        ("Memory", "1G", "is an integer, not a string", None),
        ("Memory", -1, "from 0", None),
        ("MemorySwap", -2, "from -1", None),
        ("CpuShares", 1 << 63, "9223372036854775807", None),
        ("Healthcheck", "curl", "is a set with Test", "Healthcheck = {"),
        ("Healthcheck", {"test": []}, 'no field "test"', "Test, Interval"),
        ("Healthcheck", {"Test": "curl"}, "Test, which is a list of strings", '[ "curl" ]'),
        ("Healthcheck", {"Test": ["curl", "x"]}, 'begins with "curl"', '[ "CMD" "curl" "x" ]'),
        ("Healthcheck", {"Interval": 30}, "counts nanoseconds", "Interval = 30000000000;"),
        ("Healthcheck", {"Interval": "30s"}, "Interval, which is an integer", None),
        ("Frobnicate", object(), "which cannot stand", "Use strings"),
        ("Frobnicate", [{"a": {1: 2}}], "key that is no string", None),
        ("Frobnicate", float("nan"), "which cannot stand", "Use strings"),
    ],
)  # fmt: skip
def test_wrong_values_say_how_to_write_them(field, value, message, hint):
    with pytest.raises(ArgumentTypeError) as caught:
        ContainerConfig.from_mapping({field: value})
    error = caught.value
    assert error.argument.startswith(f"config.{field}")
    assert error.message.startswith(f"config.{field}")
    assert message in error.message
    assert (error.hint is None) if hint is None else (hint in (error.hint or ""))


def test_not_a_mapping():
    with pytest.raises(ArgumentTypeError, match="is a set of fields, not list"):
        ContainerConfig.from_mapping([])


def test_null_is_not_given():
    fields = {"Cmd": None, "Env": None, "Volumes": None, "Healthcheck": None}
    assert ContainerConfig.from_mapping(fields) == ContainerConfig()


@given(
    st.dictionaries(
        st.sampled_from(["Cmd", "Env", "Volumes", "User", "Healthcheck", "Labels", "Zonk"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
            max_leaves=6,
        ),
    )
)
def test_any_mapping_is_a_config_or_an_argument_error(fields):
    try:
        config = ContainerConfig.from_mapping(fields)
    except ArgumentTypeError as error:
        argument = error.argument
    else:
        argument = "config."
        assert ContainerConfig.from_json(config.to_json()) == config
    assert re.match(r"config\.", argument)


def dockertools_merge(base, new):
    """The rule as dockerTools' documentation of its result has it, written independently."""
    names = []
    for entry in (*base, *new):
        variable = entry.split("=")[0]
        if variable not in names:
            names.append(variable)
    last = {entry.split("=")[0]: entry for entry in (*base, *new)}
    return tuple(last[variable] for variable in names)


entries = st.lists(st.from_regex(r"[ABC](=[xy=]{0,3})?", fullmatch=True), max_size=6)


@given(entries, entries)
def test_merge_env(base, new):
    assert merge_env(base, new) == dockertools_merge(base, new)
    assert merge_env(merge_env(base, new), ()) == merge_env(base, new)
