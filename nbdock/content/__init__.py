"""Bytes at rest: the blob store (an OCI image layout), codecs, the layer cache."""
