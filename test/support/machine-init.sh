#!/bin/sh
# The first process of a test machine: run by `unshare --pid --fork --net --mount --uts --cgroup`.
#   machine-init.sh NAME FOLDER ADDRESS
# Everything a node writes lands in FOLDER or in this machine's own /run; nothing here has a way out.
set -eu
name=$1 folder=$2 address=$3
hostname "$name"
mount --make-rprivate /
# Its own process table and control groups: what runs here is all that is seen here, and dies with it.
mount -t proc proc /proc
for controller in /sys/fs/cgroup/*; do
  type=$(findmnt -n -o FSTYPE "$controller" || true)
  case "$type" in
  cgroup)
    kind=$(basename "$controller")
    [ "$kind" = systemd ] && kind=none,name=systemd
    umount "$controller"
    mount -t cgroup -o "$kind" cgroup "$controller"
    ;;
  cgroup2)
    umount "$controller"
    mount -t cgroup2 cgroup2 "$controller"
    ;;
  esac
done
mount -t tmpfs -o mode=0755 tmpfs /run
mkdir -p /run/lock
while read -r target; do
  mkdir -p "$folder$target"
  mount --bind "$folder$target" "$target"
done <"$folder/targets"
echo "nameserver 127.0.0.1" >"$folder/resolv.conf"
mount --bind "$folder/resolv.conf" /etc/resolv.conf
printf '127.0.0.1 localhost\n%s %s\n' "${address%/*}" "$name" >"$folder/hosts"
mount --bind "$folder/hosts" /etc/hosts
ip link set lo up
if [ "$address" != none ]; then
  # A wire whose far end is here too, until a test moves it elsewhere: carrier, an address, and no way out.
  ip link add node0 type veth peer name wire0
  ip address add "$address" dev node0
  ip link set node0 up
  ip link set wire0 up
  # A node without any route cannot send to a Service, whose address is rewritten only after routing.
  ip route add default via "$(echo "$address" | sed "s|[.][0-9]*/.*|.1|")" dev node0
fi
echo ready
# Orphans become children of this process: it reaps them.
exec perl -e '$SIG{CHLD} = "IGNORE"; sleep 1000 while 1'
