#!/bin/busybox sh
# What a guest does once its devices are there: it takes a job, does it, and says how it went.
#
# On the control port, in lines:
#   guest  READY RELEASE ENTROPY_BITS
#   host   HELLO                                 and the guest says again that it is ready
#   host   JOB NONCE HEADER_BYTES                and then the header
#   guest  TAKEN                             the job, which it begins with now
#   guest  START                             of the commands: all that they need is mounted
#   guest  EXIT CODE MEMORY_KILLS [CODE LINE]    and NONCE on the log port, behind all there was
#   guest  SENT BYTES                            of the tar on the data port, if one was asked for
#   guest  FAILED REASON WORDS                   at any time, instead
# The host ends the guest when it has all of it.
#
# The header is a script for this shell that the host wrote, with every value quoted: see
# control.py for what it sets.

fail() {
  echo "FAILED $*" >&3
  wait_for_the_end
}

# The host ends the guest: to switch it off here could lose what the host has not taken yet.
wait_for_the_end() {
  read -r _ <&3
  poweroff -n -f
}

# The disk with this number: the kernel gives names such as sda in any order, and later.
disk_of() {
  tries=0
  while :; do
    set -- "$1" /sys/bus/scsi/devices/*:0:0:"$1"/block/*
    disk=/dev/${2##*/}
    [ -b "$disk" ] && return
    tries=$((tries + 1))
    [ $tries -lt 20000 ] || fail DISK "The disk $1 did not come."
    read -r -t 0.003 _ <&5 # a pause without a process
  done
}

# Mount layers from this number on, one for each kind given: the slot that its disk is in, or what is
# on the disk of its number. They are named for an overlay, which wants the highest first. Names are
# short, for the kernel takes a page of them at most.
lowers=
add_layers() {
  number=$1
  shift
  for kind; do
    case $kind in
    [0-9]*) eval "disk=\$slot_$kind" ;;
    *) disk_of "$number" ;;
    esac
    if [ "$kind" = tar ]; then
      mkdir "/unpacked/$number" && mount -o bind "/unpacked/$number" "/layers/$number" &&
        gnu tar --extract --file="$disk" --preserve-permissions --numeric-owner --xattrs \
          "--xattrs-include=*" --directory="/unpacked/$number" ||
        fail DISK "The layer $number cannot be unpacked."
    else
      mount -t squashfs -o ro "$disk" "/layers/$number" ||
        fail DISK "The layer $number cannot be mounted."
    fi
    lowers=$number:$lowers
    number=$((number + 1))
  done
}

# Make a file system on a disk, or take one that the host made, for what is written.
mount_disk() {
  mount -t ext4 -o "$ext4_options" "$1" "$2" 2>/dev/null && return
  mke2fs -F -m 0 "$1" >/dev/null && mount -t ext4 "$1" "$2" ||
    fail DISK "There is no room for what is written."
}
ext4_options=nobarrier,noauto_da_alloc

# Mount what is made of $lowers and what is written to /scratch/$1.
mount_overlay() {
  mkdir "/scratch/$1" "/scratch/$1.work"
  options=$lowers,upperdir=/scratch/$1,workdir=/scratch/$1.work,$overlay_options
  mount -t overlay -o "lowerdir=$options,volatile" overlay "$2" 2>/dev/null ||
    mount -t overlay -o "lowerdir=$options" overlay "$2" ||
    fail DISK "The layers cannot be mounted over each other."
}
overlay_options=redirect_dir=off,metacopy=off,index=off,xino=off

gnu() {
  tool=/nbdock/tools/$1
  shift
  if [ -e /nbdock/tools/ld.so ]; then
    set -- --library-path /nbdock/tools --inhibit-cache "$tool" "$@"
    tool=/nbdock/tools/ld.so
  fi
  "$tool" "$@"
}

until [ -c /dev/vport0p3 ]; do usleep 2500; done
# Held open from the beginning: nobody else can open them.
exec 3<>/dev/vport0p1 4>/dev/vport0p2 5<>/run/log 6>/dev/vport0p3
# The disks that have been there from the beginning, by their places on the bus: first the one that
# is written to, then slots, into which the host puts layers when it knows which.
number=0
for disk in /sys/bus/pci/devices/0000:00:1?.0/virtio*/block/*; do
  eval "slot_$number=/dev/${disk##*/}"
  number=$((number + 1))
done
mount_disk "$slot_0" /scratch
read -r release </proc/sys/kernel/osrelease
# (A number of the kernel's is read whole, or it is cut off behind its first digit.)
echo "READY $release $(cat /proc/sys/kernel/random/entropy_avail)" >&3

# A snapshot of this guest goes on from here.
while read -r word nonce header_bytes <&3 && [ "$word" = HELLO ]; do
  echo "READY $release 0" >&3
done
[ "$word" = JOB ] || fail PROTOCOL "That is no job: $word"
dd bs="$header_bytes" count=1 iflag=fullblock of=/nbdock/tools/header <&3 2>/dev/null
. /nbdock/tools/header
echo "TAKEN" >&3
printf %s "$script" >/nbdock/tools/script
date -s "@$epoch" >/dev/null
echo "$seed" >/dev/urandom
for module in /nbdock/late/*.ko; do
  [ ! -e "$module" ] || insmod "$module" || echo "nbdock: $module was not loaded"
done &
late=$!

[ -z "$plugged" ] || for host in /sys/class/scsi_host/*; do echo "0 0 -" >"$host/scan"; done
[ -z "$unpack" ] || { disk_of 1 && mount_disk "$disk" /unpacked; }
cd /layers
[ -z "$places" ] || mkdir $places
add_layers 2 $layers
layers_alone=${lowers}none
if [ "$root" = merged ]; then
  lowers=${lowers}mounts
else
  lowers=$layers_alone
fi
mount_overlay changes /tree
if [ "$root" = changes ]; then
  root=/root-of-commands
  lowers=
  add_layers "$number" $around
  lowers=${lowers}around
  mount_overlay around "$root"
  mount -o bind /tree "$root/build"
else
  root=/tree
fi
cd /
for place in dev sys; do
  [ -d "$root/$place" ] && [ ! -L "$root/$place" ] || fail ROOT "/$place is not a directory."
done
mount -o rbind /nbdock/dev "$root/dev"
mount -t sysfs -o ro sys "$root/sys"
wait $late
echo "START" >&3

code=0
if [ -n "$program" ]; then
  echo -1000 >/proc/self/oom_score_adj
  # (Not cat, which copies four kilobytes at a time.)
  dd bs=32768 </run/log >&4 5>&- 2>/dev/null &
  reader=$!
  # A space of processes of its own: it ends with the first of them, and nothing stays behind.
  unshare -m -p -f /nbdock/commands "$root" 3>&- 4>&- 5>&- 6>&-
  exec 5>&-
  wait $reader
  code=
  read -r code </run/code || fail ENDED "The commands switched the machine off."
fi
read -r said </nbdock/dev/.nbdock.said
case $said in
FAILED*) fail "${said#FAILED }" ;;
esac
kills=0
# (The shell reads letter by letter: what explains a failure costs 50 ms, and nothing else needs it.)
[ "$code" = 0 ] || while read -r fact count; do
  [ "$fact" != oom_kill ] || kills=$count
done </proc/vmstat
printf %s "$nonce" >&4
echo "EXIT $code $kills $said" >&3

if [ "$code" = 0 ] && [ "$send" != nothing ]; then
  folder=/scratch/changes
  if [ "$send" = tree ]; then
    # The same layers with what was written above them, and without the places for mounts.
    umount -l "$root" && umount -l /tree 2>/dev/null
    mount -o bind /scratch/changes /layers/changes &&
      cd /layers &&
      mount -t overlay -o "ro,lowerdir=changes:$layers_alone,$overlay_options" overlay /sent ||
      fail DISK "The tree cannot be mounted."
    folder=/sent
  fi
  cd "$folder" && gnu tar --create --file=- --blocking-factor=128 --format=posix \
    --numeric-owner --sort=name --sparse --xattrs "--xattrs-include=*" --totals . >&6 2>/run/totals
  case $? in
  0) ;;
  # Where a layer's whiteout hides nothing, the kernel lists a name that is not there.
  1) [ "$send" = tree ] || fail TAR "$(tail -n 1 /run/totals)" ;;
  *) fail TAR "$(tail -n 1 /run/totals)" ;;
  esac
  while read -r first _ _ count _; do
    [ "$first" != Total ] || bytes=$count
  done </run/totals
  echo "SENT $bytes" >&3
fi
wait_for_the_end
