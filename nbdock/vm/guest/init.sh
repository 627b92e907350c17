#!/bin/busybox sh
# The first process of a guest: brings the devices up, then hands over to the agent.
export PATH=/bin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
for module in /nbdock/modules/*.ko; do
  insmod "$module" || echo "nbdock: $module was not loaded"
done
exec /nbdock/agent
