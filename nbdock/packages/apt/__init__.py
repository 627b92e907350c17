"""Debian and Ubuntu packages, from the package sources that APT knows."""
