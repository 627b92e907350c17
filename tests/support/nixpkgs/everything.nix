# Every output of every package but Nix, as a channel's list has them (Nix alone is half of all).
let
  pkgs = import <nixpkgs> { };
  isPackage = value: value.type or "" == "derivation";
  outputsOf = package: map (name: package.${name}) package.outputs;
  packagesIn = set: builtins.filter isPackage (builtins.attrValues set);
in
builtins.concatMap outputsOf (
  packagesIn (removeAttrs pkgs [ "nix" ])
  ++ packagesIn pkgs.python3Packages
  ++ packagesIn pkgs.oddities
  ++ [ pkgs.pkgsStatic.busybox pkgs.stdenv.cc.cc.lib ]
)
