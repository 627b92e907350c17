#!/usr/bin/env bash
# Installs the real components the tests use, from Debian's or Ubuntu's packages.
#
# As root on a machine with apt-get it installs what is missing; anywhere else it says what is
# missing, and those tests are skipped (with CI=true a skip is a failure).
set -euo pipefail

# Debian keeps some programs where users have no PATH.
export PATH="$PATH:/usr/sbin:/sbin"
missing=()
while read -r program package; do
  case "$program" in "" | "#"*) continue ;; esac
  # Ubuntu has its browser as a snap alone; there, tests use one that somebody installed.
  [ "$program" = chromium ] && grep -qs '^ID=ubuntu' /etc/os-release && continue
  command -v "$program" >/dev/null || [[ " ${missing[*]-} " = *" $package "* ]] || missing+=("$package")
done <"$(dirname "${BASH_SOURCE[0]}")/support/components.txt"
# A kernel for guests: one that this user can read, with its modules.
readable_kernel() {
  local image
  for image in /boot/vmlinuz-*; do
    [ -r "$image" ] && [ -e "/lib/modules/${image#/boot/vmlinuz-}/modules.dep" ] && return 0
  done
  return 1
}
if ! readable_kernel; then
  # Debian's kernels for guests, by Ubuntu's name if this is Ubuntu.
  kernel="linux-image-cloud-$(dpkg --print-architecture 2>/dev/null || echo amd64)"
  grep -qs '^ID=ubuntu' /etc/os-release && kernel=linux-image-virtual
  missing+=("$kernel")
fi
[ ${#missing[@]} -gt 0 ] || exit 0

if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
  echo "Not installed, so their tests are skipped: ${missing[*]}" >&2
  echo "As root on Debian or Ubuntu, 'make test' installs them." >&2
  [ -z "${CI:-}" ] || exit 1
  exit 0
fi

# No questions, no services started by the packages, and patience with another apt-get.
export DEBIAN_FRONTEND=noninteractive
# The kernel boots in guests alone: to make an initramfs for this machine would take half a minute.
export INITRD=No
options=(-q -y -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 -o Dpkg::Use-Pty=0)
log=$(mktemp)
policy=
cleanup() {
  rm -f "$log"
  [ -z "$policy" ] || rm -f "$policy"
}
trap cleanup EXIT
if [ ! -e /usr/sbin/policy-rc.d ]; then
  policy=/usr/sbin/policy-rc.d
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod +x "$policy"
fi

# Three tries of a command, its output shown only when all failed.
insist() {
  local try
  for try in 1 2 3; do
    "$@" </dev/null >"$log" 2>&1 && return 0
    [ "$try" -eq 3 ] || sleep $((try * 5))
  done
  tail -n 30 "$log" >&2
  return 1
}

echo "Installing for the tests: ${missing[*]} ..."
insist apt-get "${options[@]}" update
insist apt-get "${options[@]}" install --no-install-recommends "${missing[@]}"
