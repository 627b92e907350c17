"""Media types: predicates, compression and translation between the families."""

import pytest

from nbdock.errors import InvalidValueError
from nbdock.oci import (
    MediaType,
    compression_of,
    is_config,
    is_foreign_layer,
    is_index,
    is_layer,
    is_manifest,
    layer_media_type,
    to_docker,
    to_oci,
)

ALL = [value for name, value in vars(MediaType).items() if name.isupper()]


@pytest.mark.parametrize("media_type", ALL)
def test_each_type_is_one_thing(media_type):
    said = [p(media_type) for p in (is_manifest, is_index, is_config, is_layer)]
    assert sum(said) <= 1
    translated = to_oci(to_docker(media_type)), to_docker(to_oci(media_type))
    assert media_type in translated
    assert compression_of(media_type) in ("none", "gzip", "zstd")
    assert is_layer(media_type) == ("layer.v1" in media_type or "rootfs" in media_type
                                    or "nondistributable" in media_type)  # fmt: skip
    assert is_layer(to_oci(media_type)) == is_layer(media_type)
    assert is_foreign_layer(to_oci(media_type)) == is_foreign_layer(media_type)


def test_layers():
    for compression in ("none", "gzip", "zstd"):
        for family in ("oci", "docker"):
            media_type = layer_media_type(compression, family=family)
            assert f".{family}." in media_type
            assert compression_of(media_type) == compression
            assert not is_foreign_layer(media_type)
    assert is_foreign_layer(MediaType.DOCKER_FOREIGN_LAYER_GZIP)
    assert is_foreign_layer(MediaType.OCI_FOREIGN_LAYER)


def test_layers_that_cannot_be_read_are_not_called_uncompressed():
    assert not is_layer("application/vnd.oci.image.layer.v1.tar+gzip+encrypted")
    with pytest.raises(InvalidValueError, match="decrypt"):
        compression_of("application/vnd.oci.image.layer.v1.tar+gzip+encrypted")
    assert compression_of("application/vnd.cncf.helm.config.v1+json") == "none"
