#!/dev/.nbdock/bin/busybox sh
# A program of the guest's own under its name, with its libraries beside it, wherever it is run.
name=/dev/.nbdock/${0##*/}
[ -e /dev/.nbdock/ld.so ] || exec "$name" "$@"
exec /dev/.nbdock/ld.so --library-path /dev/.nbdock --inhibit-cache "$name" "$@"
