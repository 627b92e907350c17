"""What people call: build, save, load; the Image handle."""

from nbdock.images.arguments import argument_names, cell_name, context_packages, from_cell
from nbdock.images.asroot import run_as_root
from nbdock.images.build import build_image, build_layered_image
from nbdock.images.exporting import RootFilesystem, export_image
from nbdock.images.image import Image, ImageLayer, layers_of
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
from nbdock.images.pulling import pull_image
from nbdock.images.pushing import push_index
from nbdock.images.requirements import REQUIREMENTS
from nbdock.images.running import CompletedCommand
from nbdock.images.saving import check_destination
from nbdock.images.streaming import ImageStream, stream_layered_image

__all__ = [
    "REQUIREMENTS",
    "CompletedCommand",
    "Image",
    "ImageLayer",
    "ImageStream",
    "MergedImages",
    "MultiPlatformImage",
    "PrefetchedImage",
    "RootFilesystem",
    "argument_names",
    "build_image",
    "build_layered_image",
    "build_nix_shell_image",
    "cell_name",
    "check_destination",
    "closure",
    "context_packages",
    "export_image",
    "from_cell",
    "layers_of",
    "load_image",
    "merge_images",
    "nix_shell_arguments",
    "plan_layers",
    "prefetch_image",
    "pull_image",
    "push_index",
    "run_as_root",
    "stream_layered_image",
    "stream_nix_shell_image",
    "to_planner",
]
