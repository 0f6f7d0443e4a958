# lib.sh - sourced by the seed scripts: a store of their own, the `docker` command, base images, assertions, clean-up.
#
# A script types what its seed types; `docker` is strata. An assertion that fails is reported and the script goes on;
# a command that fails where nothing expects it ends the script. Either makes it exit with 1.

set -euo pipefail
# Tables are compared by characters, and strata cuts with an ellipsis.
export LC_ALL=C.UTF-8

seeds=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repo=$(cd "$seeds/../.." && pwd)
STRATA=${STRATA:-$repo/bin/strata}
[ "$(id -u)" = 0 ] || { echo "SKIP $(basename "$0"): needs root for containers and their network"; exit 0; }
[ -x "$STRATA" ] || { echo "$0: no $STRATA: run scripts/build first" >&2; exit 2; }

STRATA_ROOT=$(mktemp -d /var/tmp/strata-seed-XXXXXX)
export STRATA_ROOT
work=$(mktemp -d /var/tmp/strata-seed-work-XXXXXX)
cd "$work"
passed=0 failed=0 finished=

docker() { "$STRATA" "$@"; }

# --- assertions ------------------------------------------------------------------------------------------------

# The heading or sentence of the seed that the next assertions prove.
claim() { printf '  %s\n' "$*"; }

pass() { passed=$((passed + 1)); }
fail() {
  failed=$((failed + 1))
  printf '    FAILED line %s: %s\n' "${BASH_LINENO[1]}" "$1"
  shift
  [ $# = 0 ] || printf '      %s\n' "$@"
}

# is WHAT GOT WANT
is() { if [ "$2" = "$3" ]; then pass; else fail "$1" "got:  $2" "want: $3"; fi; }
isnt() { if [ "$2" != "$3" ]; then pass; else fail "$1" "both are: $2"; fi; }
# has WHAT TEXT PART: the text contains the part, literally
has() { if [[ $2 == *"$3"* ]]; then pass; else fail "$1" "text: ${2:0:2000}" "lacks: $3"; fi; }
hasnt() { if [[ $2 != *"$3"* ]]; then pass; else fail "$1" "text: ${2:0:2000}" "has: $3"; fi; }
# matches WHAT TEXT REGEX
matches() { if [[ $2 =~ $3 ]]; then pass; else fail "$1" "text: ${2:0:2000}" "does not match: $3"; fi; }
# at_most WHAT GOT LIMIT
at_most() { if [ "$2" -le "$3" ]; then pass; else fail "$1" "got $2, at most $3"; fi; }
ok() { # WHAT COMMAND...
  local what=$1
  shift
  if "$@"; then pass; else fail "$what" "exit code $? of: $*"; fi
}
# fails WHAT CODE PART COMMAND...: the command exits with CODE and its output contains PART
fails() {
  local what=$1 code=$2 part=$3 output status=0
  shift 3
  output=$("$@" 2>&1) || status=$?
  if [ "$status" != "$code" ]; then
    fail "$what" "exit code $status, want $code" "output: ${output:0:2000}"
  elif [[ $output != *"$part"* ]]; then
    fail "$what" "output: ${output:0:2000}" "lacks: $part"
  else
    pass
  fi
}

# --- what the seeds take for granted ----------------------------------------------------------------------------

# base NAME KIND: an image of one layer from the tar that scripts/base makes
base() { docker import --change 'CMD ["bash"]' "$("$repo/scripts/base" "$2")" "$1" >/dev/null; }

# A build whose output is kept for assertions: build LOG ARGS...; prints the output when it fails.
build() {
  local log=$1
  shift
  docker build "$@" >"$log" 2>&1 || { cat "$log"; return 1; }
}

# The seed's port where it is free on this machine, another one otherwise.
free_port() {
  python3 - "$1" <<'PY'
import socket, sys
for wanted in (int(sys.argv[1]), 0):
    try:
        with socket.socket() as s:
            s.bind(("0.0.0.0", wanted))
            print(s.getsockname()[1])
            break
    except OSError:
        pass
PY
}

# get URL: the page, as soon as something answers, for at most 20 seconds
get() {
  local _
  for _ in $(seq 100); do
    curl --silent --noproxy '*' --max-time 5 "$1" && return
    sleep 0.2
  done
  return 1
}

layers() { docker image inspect -f '{{range .RootFS.Layers}}{{println .}}{{end}}' "$1" | sed '/^$/d'; }
size() { docker image inspect -f '{{.Size}}' "$1"; }
count() { wc -l | tr -d ' '; }

# --- clean-up ---------------------------------------------------------------------------------------------------

# IDs of processes, other than this one, that work on the store.
processes() {
  local found pid
  found=$(grep -lzF "STRATA_ROOT=$STRATA_ROOT" /proc/[0-9]*/environ 2>/dev/null | cut -d/ -f3)
  for pid in $found; do
    # What is gone by now was the search itself, or on its way out.
    [ "$pid" = $$ ] || [ "$pid" = "$BASHPID" ] || [ ! -e "/proc/$pid" ] || echo "$pid"
  done
}

# Takes the store away, then looks for what should have gone with it.
clean_up() {
  local status=$? left bridge bridges
  trap - EXIT
  set +e
  bridges=$(find "$STRATA_ROOT/run/network" -name 'network-*.json' 2>/dev/null | sed 's/.*network-//;s/\.json$//')
  docker system reset -f || fail "system reset"
  left=$(grep -F "$STRATA_ROOT" /proc/self/mountinfo) && fail "mounts are left" "$left"
  for bridge in $bridges; do
    ip link show "$bridge" >/dev/null 2>&1 && fail "the bridge $bridge is left"
  done
  left=$(processes)
  [ -z "$left" ] || fail "processes are left" "$(for pid in $left; do tr '\0' ' ' <"/proc/$pid/cmdline"; done 2>/dev/null)"
  [ ! -e "$STRATA_ROOT" ] || fail "$STRATA_ROOT is left" "$(find "$STRATA_ROOT" | head -5)"
  cd /
  rm -rf --one-file-system "$STRATA_ROOT" "$work"
  [ -n "$finished" ] || { failed=$((failed + 1)); echo "    FAILED: the script ended early, exit code $status"; }
  echo "  $passed passed, $failed failed"
  [ "$failed" = 0 ] || exit 1
  exit 0
}
trap clean_up EXIT
trap 'exit 130' INT TERM
trap 'echo "    FAILED line $LINENO: $BASH_COMMAND" >&2' ERR

# The last line of every script: without it, the script did not get there.
the_end() { finished=1; }
