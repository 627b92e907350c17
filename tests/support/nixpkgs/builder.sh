# Unpacks $debs into the outputs and points their programs and libraries at the store.
set -e
umask 022
[ -n "$bin" ] || bin=${out:-$lib}
[ -n "$out" ] || out=${lib:-$bin}
[ -n "$lib" ] || lib=$out
dev=${dev:-$out} man=${man:-$out} static=${static:-$out}

if [ -z "$debs" ]; then
  eval "$commands"
  exit
fi

tree=$PWD/tree
mkdir "$tree"
# The sandbox refuses setuid bits, which a store never has; tar leaves them out unless told.
for deb in $debs; do dpkg-deb --fsys-tarfile "$deb" | tar -x --no-same-permissions -C "$tree"; done

# into OUTPUT/PLACE FROM...: what Debian has in the second place belongs in the first.
into() {
  place=$1
  shift
  for from; do
    [ -e "$from" ] || continue
    mkdir -p "$place"
    cp -dR --preserve=mode,links "$from/." "$place/"
  done
}
into "$bin/bin" "$tree/usr/bin" "$tree/bin" "$tree/usr/sbin" "$tree/sbin"
into "$lib/lib" "$tree"/lib/*-linux-gnu "$tree"/usr/lib/*-linux-gnu "$tree/usr/lib/nix"
into "$dev/include" "$tree/usr/include"
into "$man/share/man" "$tree/usr/share/man"
for name in info $locale terminfo tabset nginx; do
  into "$out/share/$name" "$tree/usr/share/$name"
done
gunzip -q "$out"/share/info/*.gz 2>/dev/null || true
rm -rf "$lib/lib/gconv" "$lib/lib/audit" "$lib/lib/perl5"
if [ "$dev" != "$out" ] && [ -d "$lib/lib/pkgconfig" ]; then
  mkdir -p "$dev/lib"
  mv "$lib/lib/pkgconfig" "$dev/lib/"
fi
if [ "$static" != "$out" ]; then
  mkdir -p "$static/lib"
  mv "$lib"/lib/*.a "$static/lib/"
fi
for output in $outputs; do eval "mkdir -p \$$output"; done
eval "$commands"

if [ -n "$propagatedBuildInputs" ]; then
  mkdir -p "$dev/nix-support"
  echo "$propagatedBuildInputs" >"$dev/nix-support/propagated-build-inputs"
fi
if [ "$dev" != "$out" ]; then
  mkdir -p "$dev/nix-support"
  echo "$out" >"$dev/nix-support/propagated-build-inputs"
fi

[ -n "$glibc" ] || exit 0
search=$lib/lib
for library in $libraries $glibc; do search=$search:$library/lib; done
interpreter=$(echo "$glibc"/lib/ld-linux*)
chmod -R u+w "$bin" "$lib"
find "$bin" "$lib" -type f | while read -r file; do
  # It fails on what is no program, no library, or static: they need nothing.
  patchelf --set-interpreter "$interpreter" --set-rpath "$search" "$file" 2>/dev/null ||
    patchelf --set-rpath "$search" "$file" 2>/dev/null || continue
  patchelf --shrink-rpath "$file"
done
