# docker.sh - a Docker and a registry of one's own for tests. Sourced with the test's name in $test and the test's arguments:
# [--docker-root DIR | --suite NAME] [STRATA]. DIR is a Debian system with another Docker, NAME a suite to make one of from
# this machine's mirror (trixie: Docker 26, sid: Docker 28); else it is the Docker of this machine. Neither reaches further than
# loopback. All goes when the test ends.
# shellcheck shell=bash
PATH=$PATH:/usr/sbin:/sbin
root='' suite=''
case ${1:-} in
  --docker-root) root=$2; shift 2 ;;
  --suite) suite=$2; shift 2 ;;
esac
strata=$(realpath -m -- "${1:-${STRATA:-bin/strata}}")
[ -x "$strata" ] || { echo "$test: no $strata: scripts/build makes it"; exit 1; }
skip() { echo "SKIP $test: $*"; exit 0; }
[ "$(id -u)" = 0 ] || skip "needs root"
for tool in docker-registry busybox; do command -v $tool >/dev/null || skip "no $tool"; done

work=$(mktemp -d /var/tmp/strata-test-XXXXXX)
export STRATA_ROOT=$work/store DOCKER_CONFIG=$work/config DOCKER_HOST=unix://$work/sock
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
registry=127.0.0.1:$port failed=0 daemon='' server=''
stop_docker() {
  [ -z "$daemon" ] || { kill "$daemon"; wait "$daemon"; rm -rf "$work/docker" "$work/exec"; } 2>/dev/null
  daemon=
}
finish() {
  stop_docker
  [ -z "$server" ] || kill "$server"
  "$strata" system reset -f >/dev/null
  # Nothing of another system's /dev or /proc: those mounts were the daemon's own.
  rm -rf --one-file-system "$work"
}
trap finish EXIT

if [ -n "$suite" ]; then
  command -v mmdebstrap >/dev/null || skip "no mmdebstrap"
  mirror=$(grep -hoE 'https?://[^ ]+/debian/?( |$)' -r /etc/apt/sources.list /etc/apt/sources.list.d 2>/dev/null | head -1)
  root=$work/root-of-$suite
  # Snapshots of sid are older than their signature lasts.
  mmdebstrap --variant=minbase --aptopt='Acquire::Check-Valid-Until "false"' --include=docker.io,docker-cli,docker-buildx \
    "$suite" "$root" ${mirror:+"$mirror"} >"$work/mmdebstrap.log" 2>&1 ||
    skip "no system of $suite: $(grep -a '^E:' "$work/mmdebstrap.log" | head -1)"
fi
# In a mount namespace of its own, which goes when the daemon goes.
in_root='for tree in proc sys dev; do mount --rbind /$tree "$0/$tree" || exit; done
  mkdir -p "$0/var/tmp" && mount --bind /var/tmp "$0/var/tmp" && mount -t tmpfs run "$0/run" && exec chroot "$0" "$@"'
if [ -n "$root" ]; then
  dockerd=(unshare --mount --propagation private sh -c 'mount --bind "$0" "$0" && '"$in_root" "$root" dockerd)
  docker() { nsenter -t "$daemon" --mount --root --wdns=/ docker "$@"; }
  version=$(chroot "$root" dockerd --version 2>/dev/null) || skip "no dockerd in $root"
else
  dockerd=(dockerd)
  docker() { /usr/bin/docker "$@"; }
  [ -x /usr/bin/docker ] || skip "no /usr/bin/docker"
  version=$(dockerd --version 2>/dev/null) || skip "no dockerd"
fi
version=${version#Docker version } major=${version%%.*}
mkdir "$work/config"

# Whether images are kept in containerd: by themselves from 29 on.
use_containerd() {
  if [ "$major" -lt 24 ]; then echo '{}'; else echo '{"features": {"containerd-snapshotter": '"$1"'}}'; fi >"$work/daemon.json"
}
use_containerd false
cat >"$work/registry.yml" <<END
version: 0.1
storage: {filesystem: {rootdirectory: $work/registry}}
http: {addr: "$registry"}
END
docker-registry serve "$work/registry.yml" >"$work/registry.log" 2>&1 &
server=$!

# An empty Docker with the base image. On a busy machine its containerd may take longer than it waits: asked again.
start_docker() {
  local try second
  for try in 1 2 3; do
    stop_docker
    "${dockerd[@]}" --config-file "$work/daemon.json" --data-root "$work/docker" --exec-root "$work/exec" -H "$DOCKER_HOST" \
      -p "$work/pid" --bridge=none --iptables=false --ip6tables=false >"$work/dockerd.log" 2>&1 &
    daemon=$!
    for second in $(seq 60); do
      docker info >/dev/null 2>&1 && break 2
      kill -0 "$daemon" 2>/dev/null || break
      sleep 1
    done
  done
  docker load -qi "$work/base.tar" >"$work/load.log" 2>&1 || {
    tail -n 5 "$work/dockerd.log" "$work/load.log" | sed "s|^|SKIP $test: |"
    skip "Docker $version does not start"
  }
}
