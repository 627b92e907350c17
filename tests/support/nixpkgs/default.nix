# A small nixpkgs of real programs, built by real Nix without a network.
#
# Each derivation unpacks Debian's own .debs, which lie beside this file in debs/, and patchelf sets
# interpreters and library paths to the store, so that its programs run in a container that holds
# nothing but its closure. Attributes, names and outputs are those of nixpkgs.
{ system ? builtins.currentSystem, config ? { }, overlays ? [ ], ... }:
let
  debs = builtins.fromJSON (builtins.readFile ./debs/debs.json);

  deb = name: builtins.path { path = ./debs + "/${debs.${name}.file}"; name = debs.${name}.file; };

  # Debian's version without epoch, revision and repacking: "1:4.13+dfsg1-1" is 4.13.
  upstream = name: builtins.elemAt (builtins.match "([0-9]+:)?([0-9.]+[0-9]).*" debs.${name}.version) 1;

  # The tools are those of the machine; the sandbox shows them (see nix.py).
  mkDerivation = { pname, version, meta ? { }, passthru ? { }, outputs ? [ "out" ], ... }@arguments:
    derivation
      (removeAttrs arguments [ "meta" "passthru" ] // {
        name = if version == "" then pname else "${pname}-${version}";
        inherit system outputs;
        builder = "/bin/sh";
        args = [ ./builder.sh ];
        PATH = "/usr/bin";
      }) // { inherit pname version meta; } // passthru;

  fromDebs = from: arguments: mkDerivation ({
    pname = builtins.head from;
    version = upstream (builtins.head from);
    debs = map deb from;
    libraries = librariesOf from;
    glibc = if arguments.pname or "" == "glibc" then "" else glibc;
  } // arguments);

  # The packages of the libraries that some Debian packages need of others.
  librariesOf = from: map (name: libraries.${name}) (builtins.filter
    (name: name != "libc6" && !(builtins.elem name from))
    (builtins.concatMap (name: debs.${name}.libraries) from));

  libraries = builtins.mapAttrs (name: _: fromDebs [ name ] { }) debs // {
    "libacl1" = pkgs.acl;
    "libatomic1" = gcc.lib;
    "libattr1" = pkgs.attr;
    "libgcc-s1" = gcc.lib;
    "libgmp10" = pkgs.gmp;
    "libncursesw6" = pkgs.ncurses;
    "libpcre2-8-0" = pkgs.pcre2;
    "libselinux1" = pkgs.libselinux;
    "libssl3" = pkgs.openssl.out;
    "libstdc++6" = gcc.lib;
    "libtinfo6" = pkgs.ncurses;
    "zlib1g" = pkgs.zlib;
  };

  glibc = fromDebs [ "libc6" ] { pname = "glibc"; libraries = [ ]; };
  gcc = fromDebs [ "libgcc-s1" "libstdc++6" "libatomic1" ] { pname = "gcc"; outputs = [ "lib" ]; };

  pythonModule = name: dependencies: fromDebs [ "python3-${name}" ] {
    pname = "python3.11-${name}";
    propagatedBuildInputs = dependencies;
    commands = ''
      install -d $out/lib/python3.11
      mv $tree/usr/lib/python3/dist-packages $out/lib/python3.11/site-packages
    '';
  };

  runCommand = name: environment: commands: mkDerivation ({
    pname = name;
    version = "";
    inherit commands;
    glibc = "";
  } // environment);

  writeText = name: text: runCommand name { inherit text; passAsFile = [ "text" ]; } ''cp "$textPath" $out'';

  writeTextDir = path: text: runCommand (baseNameOf path) { inherit text; passAsFile = [ "text" ]; }
    ''install -D -m 644 "$textPath" $out/${path}'';

  writeScriptBin = name: text: runCommand name { inherit text; passAsFile = [ "text" ]; }
    ''install -D -m 755 "$textPath" $out/bin/${name}'';

  # Links to what is in several packages, as in nixpkgs; only the top two levels are directories.
  buildEnv = { name, paths }: runCommand name { inherit paths; } ''
    mkdir $out
    for path in $paths; do
      for directory in $path/*/; do
        mkdir -p $out/$(basename $directory)
        ln -s $directory* $out/$(basename $directory)/
      done
    done
  '';

  pkgs = {
    inherit glibc system mkDerivation runCommand writeText writeTextDir writeScriptBin buildEnv;
    stdenv = { inherit mkDerivation; cc.cc = gcc; };
    lib = { };

    acl = fromDebs [ "libacl1" ] { pname = "acl"; };
    attr = fromDebs [ "libattr1" ] { pname = "attr"; };
    gmp = fromDebs [ "libgmp10" ] { pname = "gmp-with-cxx"; };
    libselinux = fromDebs [ "libselinux1" ] { pname = "libselinux"; };
    ncurses = fromDebs [ "libtinfo6" "libncursesw6" "ncurses-bin" "libncurses-dev" ] {
      pname = "ncurses";
      outputs = [ "out" "dev" "man" ];
    };
    openssl = fromDebs [ "openssl" "libssl3" ] {
      outputs = [ "bin" "out" "man" ];
    };
    pcre2 = fromDebs [ "libpcre2-8-0" ] { pname = "pcre2"; };
    zlib = fromDebs [ "zlib1g" "zlib1g-dev" ] { pname = "zlib"; outputs = [ "out" "dev" "static" ]; };

    bash = fromDebs [ "bash" ] { version = "5.2-p15"; commands = "ln -s bash $out/bin/sh"; };
    bashInteractive = fromDebs [ "bash" ] {
      pname = "bash-interactive";
      version = "5.2-p15";
      commands = "ln -s bash $out/bin/sh";
    };
    runtimeShell = "${pkgs.bash}/bin/bash";
    busybox = fromDebs [ "busybox-static" ] {
      pname = "busybox";
      commands = ''for name in $($out/bin/busybox --list); do [ -e $out/bin/$name ] || ln -s busybox $out/bin/$name; done'';
    };
    pkgsStatic.busybox = fromDebs [ "busybox-static" ] { pname = "busybox-static"; };
    cacert = fromDebs [ "ca-certificates" ] {
      pname = "nss-cacert";
      version = "3.92";
      commands = ''
        install -d $out/etc/ssl/certs
        cat $tree/usr/share/ca-certificates/mozilla/*.crt >$out/etc/ssl/certs/ca-bundle.crt
        rm -r $out/bin $out/share
      '';
    };
    coreutils = fromDebs [ "coreutils" ] { };
    hello = fromDebs [ "hello" ] { locale = "locale"; meta.description = "Says hello, and no more"; };
    iana-etc = fromDebs [ "netbase" ] {
      pname = "iana-etc";
      version = "20230316";
      commands = "install -D -t $out/etc $tree/etc/protocols $tree/etc/services";
    };
    nginx = fromDebs [ "nginx" "nginx-common" ] {
      commands = "install -d $out/conf; cp $tree/etc/nginx/mime.types $out/conf/";
    };
    nix = fromDebs [ "nix-bin" ] { pname = "nix"; };
    python3Packages = builtins.mapAttrs pythonModule (with pkgs.python3Packages; {
      certifi = [ ];
      charset-normalizer = [ ];
      idna = [ ];
      requests = [ certifi charset-normalizer idna urllib3 ];
      urllib3 = [ ];
    });
    redis = fromDebs [ "redis-server" "redis-tools" ] { pname = "redis"; };
    shadow = fromDebs [ "passwd" ] { pname = "shadow"; };

    # What a store may hold besides directories of programs.
    oddities = {
      file = writeText "greeting.txt" "Hello from ${pkgs.hello}.\n";
      symlink = runCommand "hello-link" { } "ln -s ${pkgs.hello} $out";
      self = runCommand "self-1.0" { } "mkdir $out; echo $out >$out/myself; ln -s $out/myself $out/link";
      modes = runCommand "modes-0.1" { } ''
        mkdir -p $out/empty "$out/with space"
        echo run >$out/run; chmod 755 $out/run
        echo secret >$out/secret; chmod 600 $out/secret
        ln $out/run $out/hardlink
        ln -s ../nowhere "$out/with space/dangling"
      '';
      # A chain of twenty packages, each of which refers to the one below.
      deep = builtins.foldl'
        (below: number: runCommand "deep-${toString number}" { } "mkdir $out; echo ${below} >$out/below")
        pkgs.hello
        (builtins.genList (number: number + 1) 20);
    };
  };
in
pkgs
