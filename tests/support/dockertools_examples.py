"""Images for the acceptance list of dockerTools, each under the name its case has in nixpkgs.

`THINGS` are store paths that real Nix builds from expressions over `pkgs`; `EXAMPLES` are cells
that may name them, `pkgs`, and each other.
"""

from __future__ import annotations

THINGS = {
    "helloRoot": 'pkgs.buildEnv { name = "hello-root"; paths = [ pkgs.hello ]; }',
    "somePathLink": """
        pkgs.runCommand "symlink" { } "ln -s ${pkgs.writeTextDir "dir/target" "Any."} $out"
    """,
    "readsFile": """
        pkgs.writeScriptBin "myscript" ''
          #!${pkgs.runtimeShell}
          exec ${pkgs.coreutils}/bin/cat ${pkgs.writeText "somefile" "some data"}
        ''
    """,
    "nginxConf": """
        pkgs.writeText "nginx.conf" ''
          user nobody nobody;
          daemon off;
          error_log /dev/stdout info;
          pid /dev/null;
          events { }
          http {
            access_log /dev/stdout;
            server {
              listen 80;
              location / { root ${pkgs.writeTextDir "index.html" "<h1>Hello from NGINX</h1>"}; }
            }
          }
        ''
    """,
    "users": """
        pkgs.runCommand "users" { } ''
          install -d $out/etc
          echo root:x:0:0::/root: >$out/etc/passwd
          echo somebody:x:999:999::/home/somebody: >>$out/etc/passwd
          echo somebody:x:999: >$out/etc/group
        ''
    """,
}

EXAMPLES = {
    "bashImage": """
        buildImage { name = "bash"; tag = "latest"; contents = pkgs.bashInteractive; }
    """,
    "redisImage": """
        buildImage {
          name = "redis";
          tag = "latest";
          fromImage = bashImage;
          contents = pkgs.redis;
          config = { Cmd = [ "/bin/redis-server" ]; WorkingDir = "/data"; Volumes."/data" = { }; };
        }
    """,
    "redisRunAsRoot": """
        buildImage {
          name = "redis-as-root";
          tag = "latest";
          fromImage = bashImage;
          contents = pkgs.redis;
          runAsRoot = "mkdir -p /data";
          config = { Cmd = [ "/bin/redis-server" ]; WorkingDir = "/data"; Volumes."/data" = { }; };
        }
    """,
    "helloOnRoot": """
        streamLayeredImage {
          name = "hello-on-root";
          tag = "latest";
          contents = [ helloRoot ];
          config.Cmd = [ "hello" ];
        }
    """,
    "helloOnRootNoStore": """
        streamLayeredImage {
          name = "hello-on-root-no-store";
          tag = "latest";
          contents = [ helloRoot ];
          config.Cmd = [ "hello" ];
          includeStorePaths = false;
        }
    """,
    "helloOnRootNoStoreFakechroot": """
        buildLayeredImage {
          name = "hello-on-root-no-store-fakechroot";
          tag = "latest";
          contents = [ helloRoot ];
          config.Cmd = [ "hello" ];
          includeStorePaths = false;
          enableFakechroot = true;
        }
    """,
    "bashNoTag": """buildImage { name = "bash-no-tag"; contents = pkgs.bashInteractive; }""",
    "bashNoTagLayered": """
        buildLayeredImage { name = "bash-no-tag-layered"; contents = pkgs.bashInteractive; }
    """,
    "bashNoTagStreamLayered": """
        streamLayeredImage { name = "bash-no-tag-stream-layered"; contents = pkgs.bashInteractive; }
    """,
    **{
        f"bash{size}{kind}": f"""
            {function} {{
              name = "bash-{size.lower()}{kind.lower()}";
              tag = "latest";
              compressor = "{compressor}";
              contents = pkgs.bashInteractive;
            }}
        """
        for size, function in (("", "buildImage"), ("Layered", "buildLayeredImage"))
        for kind, compressor in (("Uncompressed", "none"), ("Zstd", "zstd"), ("Gz", "gz"))
    },
    "nixImage": """
        buildImage {
          name = "nix";
          tag = "latest";
          includeNixDB = true;
          contents = [ pkgs.coreutils pkgs.nix pkgs.bash ];
          config.Env = [ "NIX_PAGER=cat" "USER=nobody" ];
        }
    """,
    # Also nixpkgs' example filesInStore.
    "nixLayered": """
        buildLayeredImage {
          name = "nix-layered";
          tag = "latest";
          includeNixDB = true;
          contents = [ pkgs.coreutils pkgs.nix pkgs.bash readsFile ];
          config.Env = [ "NIX_PAGER=cat" "USER=nobody" ];
        }
    """,
    "bashLayeredWithUser": """
        buildLayeredImage {
          name = "bash-layered-with-user";
          tag = "latest";
          contents = [ pkgs.bash pkgs.coreutils users ];
        }
    """,
    "nginxImage": """
        buildLayeredImage {
          name = "nginx-container";
          tag = "latest";
          contents = [ fakeNss pkgs.nginx pkgs.busybox ];
          extraCommands = "mkdir -p var/log/nginx var/cache/nginx var/lib/nginx tmp";
          config = { Cmd = [ "nginx" "-c" nginxConf ]; ExposedPorts."80/tcp" = { }; };
        }
    """,
    "runAsRootExtraCommands": """
        buildImage {
          name = "runAsRootExtraCommands";
          tag = "latest";
          contents = [ pkgs.coreutils ];
          runAsRoot = ''echo "(runAsRoot)" > runAsRoot'';
          extraCommands = ''echo "(extraCommand)" > extraCommands'';
        }
    """,
    "unstableDate": """
        buildImage { name = "unstable-date"; created = "now"; contents = [ pkgs.hello ]; }
    """,
    "unstableDateLayered": """
        buildLayeredImage {
          name = "unstable-date-layered";
          created = "now";
          contents = [ pkgs.hello ];
        }
    """,
    "layeredImage": """
        buildLayeredImage {
          name = "layered-image";
          tag = "latest";
          extraCommands = ''echo "(extraCommand)" > extraCommands'';
          config.Cmd = [ "${pkgs.hello}/bin/hello" ];
          contents = [ pkgs.hello pkgs.bash pkgs.coreutils ];
        }
    """,
    "anotherLayeredImage": """
        buildLayeredImage {
          name = "another-layered-image";
          tag = "latest";
          config.Cmd = [ "${pkgs.hello}/bin/hello" ];
        }
    """,
    **{
        name: f"""
            {function} {{
              name = "{title}";
              tag = "latest";
              fromImage = layeredImage;
              extraCommands = "mkdir ./example-output; chmod 777 ./example-output";
              config = {{
                Env = [ "PATH=${{pkgs.coreutils}}/bin/" ];
                WorkingDir = "/example-output";
                Cmd = [ "${{pkgs.bash}}/bin/bash" "-c" "echo hello > foo; cat foo" ];
              }};
            }}
        """
        for name, title, function in (
            ("layeredOnTop", "layered-on-top", "buildImage"),
            ("layeredOnTopLayered", "layered-on-top-layered", "buildLayeredImage"),
        )
    },
    "layersOrderFirst": """
        buildImage {
          name = "l1";
          extraCommands = "mkdir -p tmp; for i in 1 2 3; do echo layer1 >tmp/layer$i; done";
        }
    """,
    "layersOrderSecond": """
        buildImage {
          name = "l2";
          fromImage = layersOrderFirst;
          extraCommands = "mkdir -p tmp; for i in 2 3; do echo layer2 >tmp/layer$i; done";
        }
    """,
    "layersOrder": """
        buildImage {
          name = "l3";
          tag = "latest";
          fromImage = layersOrderSecond;
          contents = [ pkgs.coreutils ];
          extraCommands = "mkdir -p tmp; echo layer3 >tmp/layer3";
        }
    """,
    **{
        f"layersUnpackOrder{letter}": f"""
            buildImage {{
              name = "layers-unpack-order-{letter.lower()}";
              tag = "latest";
              fromImage = {base};
              contents = [ pkgs.coreutils ];
              runAsRoot = ''
                #!${{pkgs.runtimeShell}}
                echo -n "{letter.lower()}" >> /layer-order
              '';
            }}
        """
        for letter, base in (
            ("A", "null"), ("B", "layersUnpackOrderA"), ("C", "layersUnpackOrderB")
        )
    },
    "runAsRootParentImage": """
        buildImage {
          name = "runAsRootParentImage";
          tag = "latest";
          fromImage = bashImage;
          runAsRoot = "mkdir /example-directory";
        }
    """,
    "environmentVariablesParent": """
        buildImage {
          name = "parent";
          config.Env = [ "FROM_PARENT=true" "LAST_LAYER=parent" ];
        }
    """,
    **{
        name: f"""
            {function} {{
              name = "{name}";
              tag = "latest";
              fromImage = environmentVariablesParent;
              contents = [ pkgs.coreutils ];
              config.Env = [ "FROM_CHILD=true" "LAST_LAYER=child" ];
            }}
        """
        for name, function in (
            ("environmentVariables", "buildImage"),
            ("environmentVariablesLayered", "buildLayeredImage"),
        )
    },
    "twoLayeredImage": """
        buildLayeredImage {
          name = "two-layered-image";
          tag = "latest";
          config.Cmd = [ "${pkgs.hello}/bin/hello" ];
          contents = [ pkgs.bash pkgs.hello ];
          maxLayers = 2;
        }
    """,
    "bulkLayer": """
        buildLayeredImage {
          name = "bulk-layer";
          tag = "latest";
          contents = with pkgs; [ coreutils hello ];
          maxLayers = 2;
        }
    """,
    "layeredBulkLayer": """
        buildLayeredImage {
          name = "layered-bulk-layer";
          tag = "latest";
          fromImage = twoLayeredImage;
          contents = with pkgs; [ coreutils hello ];
          maxLayers = 4;
        }
    """,
    "noStorePaths": """
        buildLayeredImage {
          name = "no-store-paths";
          tag = "latest";
          extraCommands = "cp -r ${pkgs.pkgsStatic.busybox}/* .";
        }
    """,
    "crossImage": """
        buildImage { name = "hello-cross"; tag = "latest"; contents = crossPkgs.hello; }
    """,
    "layeredStoreSymlink": """
        buildLayeredImage {
          name = "layeredstoresymlink";
          tag = "latest";
          contents = [ pkgs.bash somePathLink ];
        }
    """,
    "prefixedImage": """
        buildImage {
          name = "registry-1.docker.io/image";
          tag = "latest";
          config.Cmd = [ "${pkgs.hello}/bin/hello" ];
        }
    """,
    "prefixedLayeredImage": """
        buildLayeredImage {
          name = "registry-1.docker.io/layered-image";
          tag = "latest";
          config.Cmd = [ "${pkgs.hello}/bin/hello" ];
        }
    """,
    "layeredImageWithFakeRootCommands": """
        buildLayeredImage {
          name = "layered-image-with-fake-root-commands";
          tag = "latest";
          contents = [ pkgs.pkgsStatic.busybox ];
          fakeRootCommands = "mkdir -p ./home/jane; chown 1000 ./home/jane";
        }
    """,
    "layeredImageWithChown": """
        buildLayeredImage {
          name = "chown";
          tag = "latest";
          contents = [ pkgs.bash ];
          enableFakechroot = true;
          fakeRootCommands = "chown --no-dereference 12345:12345 /bin/bash";
        }
    """,
    "fakeRootCommandsReferences": """
        buildLayeredImage {
          name = "references";
          tag = "latest";
          fakeRootCommands = "mkdir -p bin; ln -s ${pkgs.hello}/bin/hello bin/hello";
        }
    """,
    "imageViaFakeChroot": """
        buildLayeredImage {
          name = "image-via-fake-chroot";
          tag = "latest";
          config.Cmd = [ "hello" ];
          enableFakechroot = true;
          fakeRootCommands = "mkdir /bin; ln -s ${pkgs.hello}/bin/hello /bin/hello";
        }
    """,
    "mergedBashAndRedis": "mergeImages [ bashImage redisImage ]",
    "mergedBashNoTagAndRedis": "mergeImages [ bashNoTag redisImage ]",
    "mergedBashAndOwned": "mergeImages [ bashImage storeOwner ]",
    "mergeVaryingCompressor": "mergeImages [ bashGz bashZstd bashLayeredUncompressed ]",
    "exportBash": "exportImage { fromImage = bashImage; }",
    **{
        name: f"""
            {function} {{
              name = "{name.lower()}";
              tag = "latest";
              contents = [ pkgs.bash ./test-dummy "${{pkgs.hello}}" ];
            }}
        """
        for name, function in (
            ("buildImageWithPath", "buildImage"), ("layeredImageWithPath", "buildLayeredImage"),
        )
    },
    **{
        name: f"""
            {function} {{
              name = "{name.lower()}";
              tag = "latest";
              architecture = "arm64";
              contents = [ pkgs.hello ];
              config.Cmd = [ "/bin/hello" ];
            }}
        """
        for name, function in (
            ("buildImageWithArchitecture", "buildImage"),
            ("layeredImageWithArchitecture", "buildLayeredImage"),
        )
    },
    "imageWithCerts": """
        buildLayeredImage {
          name = "image-with-certs";
          tag = "latest";
          contents = [ pkgs.coreutils caCertificates ];
        }
    """,
    "storeOwner": """
        buildLayeredImage {
          name = "store-owner";
          tag = "latest";
          contents = [ pkgs.bash pkgs.coreutils ];
          uid = 1000;
          gid = 1000;
          uname = "app";
          gname = "app";
        }
    """,
}  # fmt: skip
