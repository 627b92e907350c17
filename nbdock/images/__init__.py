"""What people call: build, save, load; the Image handle.

Names are imported when they are first used: who pulls an image does not wait for all that can
build one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nbdock.later import names_of

if TYPE_CHECKING:
    from nbdock.images.advising import advice_at_hand
    from nbdock.images.arguments import Contents, argument_names, context_packages, from_cell
    from nbdock.images.asroot import run_as_root
    from nbdock.images.build import build_image, build_layered_image
    from nbdock.images.exporting import RootFilesystem, export_image
    from nbdock.images.fleetplanning import plan_fleet
    from nbdock.images.image import Image, ImageLayer, layers_of
    from nbdock.images.layer import contents_comment
    from nbdock.images.loading import load_image
    from nbdock.images.merging import MergedImages, merge_images
    from nbdock.images.multiplatform import MultiPlatformImage
    from nbdock.images.nixshell import (
        build_nix_shell_image,
        nix_shell_arguments,
        stream_nix_shell_image,
    )
    from nbdock.images.planning import closure, plan_layers, to_planner
    from nbdock.images.prefetching import PrefetchedImage, prefetch_image
    from nbdock.images.pruning import PruneReport, Usage, prune, usage
    from nbdock.images.pulling import pull_image
    from nbdock.images.pushing import push_index
    from nbdock.images.requirements import REQUIREMENTS
    from nbdock.images.running import CompletedCommand
    from nbdock.images.saving import check_destination
    from nbdock.images.streaming import ImageStream, stream_layered_image

__all__ = [
    "REQUIREMENTS",
    "CompletedCommand",
    "Contents",
    "Image",
    "ImageLayer",
    "ImageStream",
    "MergedImages",
    "MultiPlatformImage",
    "PrefetchedImage",
    "PruneReport",
    "RootFilesystem",
    "Usage",
    "advice_at_hand",
    "argument_names",
    "build_image",
    "build_layered_image",
    "build_nix_shell_image",
    "check_destination",
    "closure",
    "contents_comment",
    "context_packages",
    "export_image",
    "from_cell",
    "layers_of",
    "load_image",
    "merge_images",
    "nix_shell_arguments",
    "plan_fleet",
    "plan_layers",
    "prefetch_image",
    "prune",
    "pull_image",
    "push_index",
    "run_as_root",
    "stream_layered_image",
    "stream_nix_shell_image",
    "to_planner",
    "usage",
]

__getattr__, __dir__ = names_of(
    __name__,
    {
        "advising": "advice_at_hand",
        "arguments": "Contents argument_names context_packages from_cell",
        "asroot": "run_as_root",
        "build": "build_image build_layered_image",
        "exporting": "RootFilesystem export_image",
        "fleetplanning": "plan_fleet",
        "image": "Image ImageLayer layers_of",
        "layer": "contents_comment",
        "loading": "load_image",
        "merging": "MergedImages merge_images",
        "multiplatform": "MultiPlatformImage",
        "nixshell": "build_nix_shell_image nix_shell_arguments stream_nix_shell_image",
        "planning": "closure plan_layers to_planner",
        "prefetching": "PrefetchedImage prefetch_image",
        "pruning": "PruneReport Usage prune usage",
        "pulling": "pull_image",
        "pushing": "push_index",
        "requirements": "REQUIREMENTS",
        "running": "CompletedCommand",
        "saving": "check_destination",
        "streaming": "ImageStream stream_layered_image",
    },
)
