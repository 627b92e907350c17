#!/bin/busybox sh
# The first process of a guest: brings the devices up, then hands over to the agent.
export PATH=/bin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
# With too little memory a guest would read its programs again and again for an hour: what was used
# within the last second is not given up, so that the kernel ends the commands instead.
if [ -d /sys/kernel/mm/lru_gen ]; then
  echo y >/sys/kernel/mm/lru_gen/enabled
  echo 1000 >/sys/kernel/mm/lru_gen/min_ttl_ms
fi
for module in /nbdock/modules/*.ko; do
  options=
  case $module in
  # There are no disks yet, and to look for them at each of 256 addresses takes a while.
  *-scsi_mod.ko) options=scan=manual ;;
  esac
  insmod "$module" $options || echo "nbdock: $module was not loaded"
done
# The /dev of commands is one of their own, and has the guest's programs in it.
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620,gid=5 devpts /nbdock/dev/pts
mount -t tmpfs -o mode=1777 shm /nbdock/dev/shm
mount -o bind /nbdock/tools /nbdock/dev/.nbdock
mount -o remount,bind,ro /nbdock/dev/.nbdock
exec /nbdock/agent
