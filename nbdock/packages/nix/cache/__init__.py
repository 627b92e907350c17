"""Nix's packages without Nix: from binary caches, by the names that a channel publishes.

What a name means: `channel` and `channellist` (which store paths there are), `channelnames` and
`versions` (which of them a name of nixpkgs is), `system` (which of those runs here). What a cache
says of a path, and whether that is believed: `binarycache`, `narinfo`, `signatures`,
`contentaddress`, `lookup`. How its content gets here: `fetching`. And the packages themselves:
`package`, `package_set`.
"""
