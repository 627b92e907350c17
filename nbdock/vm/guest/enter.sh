# Runs in the commands' root, and becomes them: finds their user, directory and interpreter.
tools=/dev/.nbdock
. $tools/header
echo 900 >/proc/self/oom_score_adj

fail() {
  echo "FAILED $*" >/dev/.nbdock.said
  exit 1
}

is_number() {
  case $1 in '' | *[!0-9]*) return 1 ;; esac
}

who=${user%%:*}
who=${who:-0}
uid= gid=0 name= home=/
if [ -r /etc/passwd ]; then
  while IFS=: read -r known _ its_uid its_gid _ its_home _; do
    if [ "$known" = "$who" ] || [ "$its_uid" = "$who" ]; then
      name=$known uid=$its_uid gid=$its_gid home=${its_home:-/}
      break
    fi
  done </etc/passwd
fi
if [ -z "$uid" ]; then
  is_number "$who" || fail USER "There is no user $who in /etc/passwd."
  uid=$who
  [ "$uid" != 0 ] || home=/root
fi
groups=
case $user in
*:*)
  group=${user#*:}
  gid=
  if [ -r /etc/group ]; then
    while IFS=: read -r known _ its_gid _; do
      if [ "$known" = "$group" ] || [ "$its_gid" = "$group" ]; then
        gid=$its_gid
        break
      fi
    done </etc/group
  fi
  if [ -z "$gid" ]; then
    is_number "$group" || fail USER "There is no group $group in /etc/group."
    gid=$group
  fi
  ;;
?*)
  if [ -n "$name" ] && [ -r /etc/group ]; then
    while IFS=: read -r _ _ its_gid members; do
      case ,$members, in *",$name,"*) groups=$groups${groups:+,}+$its_gid ;; esac
    done </etc/group
  fi
  ;;
esac
is_number "$uid" && is_number "$gid" || fail USER "The user $who has no number in /etc/passwd."

[ "$root" != changes ] || directory=/build/$directory
mkdir -p -- "$directory" && cd -- "$directory" ||
  fail DIRECTORY "The working directory $directory cannot be entered."

# What stands in for an interpreter that the root lacks: the guest's own.
own_shell="$tools/bin/busybox sh"
loader=
[ ! -e $tools/ld.so ] || loader="$tools/ld.so --library-path $tools --inhibit-cache"
[ ! -e $tools/bash ] || own_shell="$loader $tools/bash"
hook="BASH_ENV=$tools/hook"

set -f
if [ "$program" = script ]; then
  IFS= read -r first <$tools/script
  case $first in
  '#!'*)
    program=$tools/script
    set -- ${first#\#!}
    case $* in *bash*) program="$hook $program" ;; esac
    if [ ! -e "$1" ]; then
      case ${1##*/} in
      env) shift ;;
      esac
      case ${1##*/} in
      sh | bash | dash | ash)
        shift
        program="$hook $own_shell $* $tools/script"
        ;;
      *)
        [ "${first#*/env }" != "$first" ] || {
          echo "$1: not found in the image, and the script's first line wants it" >&2
          exit 127
        }
        program="$tools/bin/env $* $tools/script"
        ;;
      esac
    fi
    ;;
  *)
    if [ -x /bin/bash ]; then
      program="$hook /bin/bash -e $tools/script"
    elif [ -e $tools/bash ]; then
      program="$hook $own_shell -e $tools/script"
    elif [ -x /bin/sh ]; then
      program="/bin/sh -e $tools/script"
    else
      program="$own_shell -e $tools/script"
    fi
    ;;
  esac
else
  # busybox would rather be a program itself than run the root's program of that name.
  program= found=
  case $command in
  */*) found=$command ;;
  *)
    IFS=:
    for folder in $path; do
      if [ -f "${folder:-.}/$command" ] && [ -x "${folder:-.}/$command" ]; then
        found=${folder:-.}/$command
        break
      fi
    done
    unset IFS
    ;;
  esac
  if [ -z "$found" ]; then
    echo "$command: not found in $path" >&2
    exit 127
  fi
fi

set --
if [ -n "$user" ]; then
  set -- $loader $tools/chroot "--userspec=+$uid:+$gid" "--groups=$groups" --skip-chdir /
fi
go "$@"
