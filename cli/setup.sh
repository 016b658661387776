#!/bin/sh
# Makes a fresh Debian or Ubuntu machine able to build, run and test Keelson. Run again, it only looks.
#
#   cli/setup.sh run     what `make up` needs: packages, npm dependencies, generated types, the bundle
#   cli/setup.sh check   what `make check` needs: npm dependencies and generated types
#   cli/setup.sh test    what `make test` needs: that of `run`, and the real peers the tests talk to
set -eu
cd "$(dirname "$0")/.."

say() { printf '  %-5s %s %s\n' "$1" "$2" "$(awk -v a="$3" -v b="$(date +%s.%N)" 'BEGIN { printf "%.2f s", b - a }')"; }

# step TITLE COMMAND...: one line with its time; on failure the whole output, and what to do.
step() {
  title=$1
  shift
  started=$(date +%s.%N)
  log=$(mktemp)
  if "$@" >"$log" 2>&1; then
    say ok "$title" "$started"
    rm -f "$log"
  else
    say FAIL "$title" "$started"
    cat "$log" >&2
    rm -f "$log"
    echo "cannot do \"$title\": the output above says why; mend it and run this again" >&2
    exit 1
  fi
}

# missing PROGRAM:PACKAGE...: the packages whose program is not there.
missing() {
  for pair in "$@"; do
    PATH="$PATH:/usr/sbin:/sbin" command -v "${pair%%:*}" >/dev/null || printf '%s ' "${pair#*:}"
  done
}

install_packages() {
  [ "$(id -u)" = 0 ] || { echo "this needs root to install: $*; run it with sudo" >&2; return 1; }
  command -v apt-get >/dev/null || { echo "no apt-get here; install by hand: $*" >&2; return 1; }
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -q
  # A package's own service must not start by itself: up decides what runs, and the tests start their own.
  policy=
  if [ ! -e /usr/sbin/policy-rc.d ] && [ ! -d /run/systemd/system ]; then
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
    chmod +x /usr/sbin/policy-rc.d
    policy=1
  fi
  apt-get install -q -y --no-install-recommends "$@" || { [ -z "$policy" ] || rm -f /usr/sbin/policy-rc.d; return 1; }
  [ -z "$policy" ] || rm -f /usr/sbin/policy-rc.d
}

packages() {
  wanted=$(missing "$@")
  # shellcheck disable=SC2086 # a list of words
  [ -z "$wanted" ] || step "packages: $wanted" install_packages $wanted
}

runtime_answers() {
  for socket in /run/containerd/containerd.sock /run/crio/crio.sock /var/run/docker.sock; do
    [ -S "$socket" ] && return 0
  done
  return 1
}

npm_dependencies() {
  command -v npm >/dev/null || { echo "npm is not on this machine; install Node.js with npm (any version from 18 on)" >&2; return 1; }
  npm ci --no-audit --no-fund
}

case "$(uname -m)" in aarch64) cpu=arm64 ;; *) cpu=x64 ;; esac
node=node_modules/node-linux-$cpu/bin/node

case "${1:-run}" in
run)
  packages iptables-restore:iptables conntrack:conntrack ip:iproute2 mount:mount
  runtime_answers || packages containerd:containerd runc:runc
  ;;
test)
  packages iptables-restore:iptables conntrack:conntrack ip:iproute2 mount:mount nft:nftables \
    containerd:containerd runc:runc dockerd:docker.io etcd:etcd-server etcdctl:etcd-client busybox:busybox-static \
    docker-registry:docker-registry curl:curl perl:perl-base socat:socat nsenter:util-linux nginx:nginx-light ps:procps
  [ -x /usr/lib/cni/bridge ] || step "packages: containernetworking-plugins" install_packages containernetworking-plugins
  command -v kubectl >/dev/null || step "packages: kubernetes-client" install_packages kubernetes-client
  ;;
check) ;;
*)
  echo "usage: cli/setup.sh run|check|test" >&2
  exit 2
  ;;
esac
if [ ! -e node_modules/.package-lock.json ] || [ package-lock.json -nt node_modules/.package-lock.json ]; then
  step "npm dependencies" npm_dependencies
  touch node_modules/.package-lock.json
fi
[ -x "$node" ] || { echo "no Node for this machine in node_modules: want x64 or arm64 Linux, this is $(uname -m)" >&2; exit 1; }
[ -e api/generated/schema.json ] || step "generated types" "$node" api/generate/main.ts
"$node" api/generate/main.ts
[ "${1:-run}" = check ] || step "bundle" "$node" cli/bundle.ts
