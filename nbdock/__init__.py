"""Container images you can see, from a notebook.

nbdock re-creates nixpkgs' dockerTools as Jupyter magics and async functions: images are built,
saved and loaded without Docker, without Nix and without root.

    >>> import nbdock
    >>> motd = nbdock.text_file("etc/motd", "hello")
    >>> image = nbdock.concurrency.run(nbdock.build_image("motd", tag="1", contents=motd))
    >>> image
    <Image motd:1>

In a notebook, after ``%load_ext nbdock``, a cell that begins with ``%%buildImage`` or
``%%buildLayeredImage`` does the same in dockerTools' own words.

Names are imported when they are first used, so that ``import nbdock`` is quick.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from nbdock.later import names_of

if TYPE_CHECKING:
    from nbdock import concurrency, errors, settings
    from nbdock.errors import NbdockError
    from nbdock.images import (
        Image,
        build_image,
        build_layered_image,
        build_nix_shell_image,
        closure,
        export_image,
        load_image,
        merge_images,
        plan_fleet,
        plan_layers,
        prefetch_image,
        prune,
        pull_image,
        push_index,
        run_as_root,
        stream_layered_image,
        stream_nix_shell_image,
    )
    from nbdock.jobs import Job
    from nbdock.layering import FleetPlan, HistoryPlanner, LayerPlan, planners
    from nbdock.notebook.explore import (
        closure_mermaid,
        explore,
        explore_closure,
        explore_plan,
        explore_sharing,
    )
    from nbdock.packages import (
        Closure,
        Package,
        PackageSet,
        apt,
        bin_sh,
        ca_certificates,
        directory,
        fake_nss,
        nixpkgs,
        script,
        shadow_setup,
        store_path,
        text_file,
        usr_bin_env,
    )
    from nbdock.settings import configure
    from nbdock.tables import (
        advise,
        closure_graph,
        compare_table,
        doctor,
        efficiency,
        file_table,
        fleet_table,
        history_of,
        history_table,
        index_table,
        layer_table,
        package_table,
        registry_table,
        replay,
        reproducibility_table,
        sharing_matrix,
        sharing_table,
        usage_table,
        waste_table,
    )

__version__ = "0.1.0"

# Silent until somebody listens, as libraries are; notebooks and commands show warnings themselves.
logging.getLogger(__name__).addHandler(logging.NullHandler())

__all__ = [
    "Closure",
    "FleetPlan",
    "HistoryPlanner",
    "Image",
    "Job",
    "LayerPlan",
    "NbdockError",
    "Package",
    "PackageSet",
    "advise",
    "apt",
    "bin_sh",
    "build_image",
    "build_layered_image",
    "build_nix_shell_image",
    "ca_certificates",
    "closure",
    "closure_graph",
    "closure_mermaid",
    "compare_table",
    "concurrency",
    "configure",
    "directory",
    "doctor",
    "efficiency",
    "errors",
    "explore",
    "explore_closure",
    "explore_plan",
    "explore_sharing",
    "export_image",
    "fake_nss",
    "file_table",
    "fleet_table",
    "history_of",
    "history_table",
    "index_table",
    "layer_table",
    "load_image",
    "merge_images",
    "nixpkgs",
    "package_table",
    "plan_fleet",
    "plan_layers",
    "planners",
    "prefetch_image",
    "prune",
    "pull_image",
    "push_index",
    "registry_table",
    "replay",
    "reproducibility_table",
    "run_as_root",
    "script",
    "settings",
    "shadow_setup",
    "sharing_matrix",
    "sharing_table",
    "store_path",
    "stream_layered_image",
    "stream_nix_shell_image",
    "text_file",
    "usage_table",
    "usr_bin_env",
    "waste_table",
]

__getattr__, _ = names_of(
    __name__,
    {
        "images": """
            build_image build_layered_image stream_layered_image build_nix_shell_image
            stream_nix_shell_image export_image merge_images load_image pull_image run_as_root
            prefetch_image push_index closure plan_layers plan_fleet Image prune
        """,
        "packages": """
            apt nixpkgs directory text_file script store_path Package PackageSet Closure
            shadow_setup fake_nss bin_sh usr_bin_env ca_certificates
        """,
        "layering": "LayerPlan planners HistoryPlanner FleetPlan",
        "tables": """
            layer_table file_table package_table waste_table efficiency sharing_table
            sharing_matrix compare_table reproducibility_table history_of history_table replay
            advise fleet_table closure_graph registry_table index_table usage_table doctor
        """,
        "notebook.explore": """
            explore explore_plan explore_sharing explore_closure closure_mermaid
        """,
        "jobs": "Job",
        "errors": "errors NbdockError",
        "settings": "settings configure",
        "concurrency": "concurrency",
    },
)


def __dir__() -> list[str]:
    return sorted((*__all__, "__version__", "load_ipython_extension"))


def load_ipython_extension(shell: Any) -> None:
    """``%load_ext nbdock``: the magics, the display of results, and the names of a cell."""
    from nbdock.notebook import load

    load(shell)


def unload_ipython_extension(shell: Any) -> None:
    """``%unload_ext nbdock``: as if it had never been loaded."""
    from nbdock.notebook import unload

    unload(shell)
