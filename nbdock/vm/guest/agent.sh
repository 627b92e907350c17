#!/bin/busybox sh
# What a guest does that nobody gave a job: it says that it is there.
echo "nbdock: ready $(uname -r)"
poweroff -f
