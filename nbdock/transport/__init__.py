"""Bytes over HTTP for every room above: the one httpx seam."""
