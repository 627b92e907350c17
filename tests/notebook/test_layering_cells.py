"""Cells that say which packages share a layer."""

from __future__ import annotations

import nbdock
from nbdock.errors import ArgumentError, ArgumentTypeError

BODY = """
name = "layers"; tag = "1";
contents = [ (textFile "etc/a" "a") (textFile "etc/b" "b") (textFile "etc/c" "c") ];
"""


def layer_names(plan: nbdock.LayerPlan) -> list[list[str]]:
    return [[p.name for p in layer] for layer in plan.layers]


def test_a_planner_by_name(cells) -> None:
    plan = cells.value(f'%%buildLayeredImage --dry-run{BODY} layering = "auto";')
    assert plan.planner == "auto"
    image = cells.value(f'%%buildLayeredImage{BODY} layering = "auto";')
    assert len(image.layers) == len(plan) + 1


def test_a_pipeline_with_packages_and_names(cells) -> None:
    cells.names["motd"] = nbdock.text_file("etc/motd", "hi")
    body = """
    name = "layers"; tag = "1";
    contents = [ motd (textFile "etc/a" "a") (textFile "etc/b" "b") ];
    layeringPipeline = [
      ["split_paths" [ motd "${motd}" { children_of = motd; } ]]
      ["over" "rest" ["pipe" [["popularity_contest"] ["limit_layers" 1]]]]
      ["flatten"]
      ["reverse"]
    ];
    """
    plan = cells.value(f"%%buildLayeredImage --dry-run\n{body}")
    assert plan.planner == "pipeline"
    assert layer_names(plan) == [["a", "b"], ["motd"]]
    assert len(cells.value(f"%%buildLayeredImage\n{body}").layers) == 3


def test_a_function_of_the_notebook(cells) -> None:
    def backwards(closure: nbdock.Closure, limit: int) -> list[list[nbdock.Package]]:
        return [[package] for package in reversed(closure.packages)]

    cells.names["backwards"] = backwards
    plan = cells.value(f"%%buildLayeredImage --dry-run{BODY} layering = backwards;")
    assert (plan.planner, layer_names(plan)) == ("backwards", [["c"], ["b"], ["a"]])


def test_errors_point_into_the_cell(cells) -> None:
    for flag in ("", " --dry-run"):
        for line, error, place in (
            ('layering = "atuo";', ArgumentTypeError, 'Did you mean "auto"?'),
            (
                'layeringPipeline = [["limit_layer" 3]];',
                ArgumentError,
                "Did you mean limit_layers?",
            ),
            ("layering = []; layeringPipeline = [];", ArgumentError, "Keep one"),
        ):
            shown = cells.shown(f"%%buildLayeredImage{flag}{BODY}{line}")
            assert error.__name__ in shown
            assert place in shown
            assert "(line 3, column" in shown
            assert line in shown
