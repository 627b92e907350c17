"""Nix's packages with the Nix of this machine: what is in its store, and what it evaluates.

The store alone, for which Nix need not run: `location`, `database`, `store`. nixpkgs by its
language: `source` (what is asked), `command` and `messages` (asking it), `attributes` (what came
out), `evaluation` (the package set). What a derivation is built with: `derivation`,
`instantiating`, `shell`.
"""
