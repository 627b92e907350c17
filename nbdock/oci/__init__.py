"""What an image is: digests, references, platforms, manifests, configs. Values, no I/O."""
