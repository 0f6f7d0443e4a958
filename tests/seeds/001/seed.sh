#!/usr/bin/env bash
# Seed 001, "Docker Layers": the union of layers, copy on write, history, the order of instructions and the cache.
. "$(dirname "$0")/../lib.sh"

base python:3 python
base busybox busybox

claim "A file is read on the highest layer where it is found; only the highest can be written"
mkdir stack
cat >stack/Dockerfile <<'D'
FROM busybox
RUN echo lowest > /file; echo untouched > /other; echo doomed > /doomed
RUN echo middle > /file
RUN echo highest > /file
D
docker build -q -t stack stack >/dev/null
is "what a container reads" "$(docker run --rm stack cat /file)" highest
container=$(docker run -d --name writer stack sh -c 'echo mine > /file; rm /doomed; echo new > /new; sleep 100')
for _ in $(seq 50); do [ "$(docker exec writer cat /new 2>/dev/null)" = new ] && break || sleep 0.1; done
is "what it wrote" "$(docker exec writer cat /file)" mine
dirs=$(docker image inspect -f '{{.GraphDriver.Data.UpperDir}}:{{.GraphDriver.Data.LowerDir}}' stack | tr : '\n')
is "the layers below are as they were" "$(for dir in $dirs; do cat "$dir/file" 2>/dev/null || true; done)" "highest
middle
lowest"

claim "The container layer holds what is new, modified or deleted, and nothing else"
is "docker diff" "$(docker diff writer)" "D /doomed
C /file
A /new"
upper=$(docker inspect -f '{{.GraphDriver.Data.UpperDir}}' writer)
# etc/ holds the empty files that hosts, hostname and resolv.conf are mounted on.
is "the writable layer" "$(cd "$upper" && find . -path ./etc -prune -o \( -type f -o -type c \) -print | sort)" "./doomed
./file
./new"
is "a deletion is a whiteout" "$(stat -c '%F %t:%T' "$upper/doomed")" "character special file 0:0"
matches "docker ps -s" "$(docker ps -s --format '{{.Size}}')" '^9B \(virtual [0-9.]+MB\)$'

claim "Containers of one image differ only in their last layer"
docker run -d --name reader stack sleep 100 >/dev/null
is "the other container does not see it" "$(docker exec reader cat /file /doomed)" "highest
doomed"
is "one file below both" "$(docker exec writer stat -c %i /other)" "$(docker exec reader stat -c %i /other)"
shared() { docker inspect -f '{{.GraphDriver.Data.LowerDir}}' "$1" | tr : '\n' | grep -c "^$STRATA_ROOT/overlay2/"; }
is "the same layers below both" "$(shared writer)" "$(shared reader)"
docker rm -f writer reader >/dev/null
ok "rm takes the container's layer with it" [ ! -e "$upper" ]

claim "Visualizing layers"
mkdir -p project/step1/app
cat >project/step1/Dockerfile <<'D'
FROM python:3
COPY requirements.txt /requirements.txt
RUN pip install -r /requirements.txt
COPY app /app
EXPOSE 5000
CMD ["python3", "/app/api.py"]
D
echo flask >project/step1/requirements.txt
cat >project/step1/app/api.py <<'PY'
from flask import Flask
app = Flask(__name__)

@app.route("/health")
def health():
    print("alive")
    return "ok"
PY
build log -t simple_api_img project/step1
history=$(docker history simple_api_img)
is "one row an instruction, the newest first" "$(docker history --no-trunc --format '{{.CreatedBy}}' simple_api_img | head -5)" \
  'CMD ["python3" "/app/api.py"]
EXPOSE [5000/tcp]
COPY app /app # buildkit
RUN /bin/sh -c pip install -r /requirements.txt # buildkit
COPY requirements.txt /requirements.txt # buildkit'
is "rows built elsewhere" "$(grep -c '^<missing>' <<<"$history")" "$(($(wc -l <<<"$history") - 2))"
matches "--no-trunc prints whole IDs" "$(docker history --no-trunc simple_api_img)" 'sha256:[0-9a-f]{64} '
is "all but RUN, COPY and ADD are 0 bytes" "$(docker history --format '{{.Size}} {{.CreatedBy}}' simple_api_img | sed -n '1p;2p' | cut -d' ' -f1 | tr '\n' ' ')" "0B 0B "
is "the base is the sum of the rows below" \
  "$(docker history --human=false --format '{{.Size}}' simple_api_img | tail -n +6 | awk '{s += $1} END {print s}')" "$(size python:3)"
is "ContainerConfig.Env is a JSON list" "$(docker inspect -f '{{ json .ContainerConfig.Env }}' simple_api_img | jq -c 'map(split("=")[0])')" '["PATH"]'
printf 'FROM simple_api_img\nENV A=1\nEXPOSE 80\n' | docker build -q -t child -f - . >/dev/null
has "history tells a base's EXPOSE and ENV" "$(printf 'FROM child\nCMD x\n' | docker build -q -t grandchild -f - . >/dev/null; docker history grandchild)" "ENV A=1"

claim "Order matters: a rebuild without a change takes no time"
id=$(docker images -q simple_api_img)
start=$(date +%s%N)
build log --progress=plain -t simple_api_img project/step1
at_most "milliseconds of the rebuild" $((($(date +%s%N) - start) / 1000000)) 1000
is "all steps are cached" "$(grep -c CACHED log)" 4
touch -d '2001-01-01' project/step1/app/api.py
build log -t simple_api_img project/step1
is "another modification time is no change" "$(grep -c CACHED log) $(docker images -q simple_api_img)" "4 $id"

claim "Only what stands below the changed file is built again"
echo 'print("another print")' >>project/step1/app/api.py
build log --progress=classic -t simple_api_img project/step1
is "the console" "$(grep -E '^(Step| ---> Using)' log)" "Step 1/6 : FROM python:3
Step 2/6 : COPY requirements.txt /requirements.txt
 ---> Using cache
Step 3/6 : RUN pip install -r /requirements.txt
 ---> Using cache
Step 4/6 : COPY app /app
Step 5/6 : EXPOSE 5000
Step 6/6 : CMD [\"python3\", \"/app/api.py\"]"
isnt "another image" "$(docker images -q simple_api_img)" "$id"
is "the layer of pip is the same" "$(layers simple_api_img | sed -n 3p)" "$(layers child | sed -n 3p)"

claim "--no-cache executes everything again"
printf 'FROM busybox\nCOPY requirements.txt /\nRUN echo executed; cat /proc/sys/kernel/random/uuid > /uuid\n' >nocache
build log --no-cache -t nocache -f nocache project/step1
first=$(layers nocache)
build log --no-cache -t nocache -f nocache project/step1
has "RUN ran" "$(cat log)" executed
isnt "and gave another layer" "$(layers nocache | tail -1)" "$(tail -1 <<<"$first")"
is "COPY gives the same layer again" "$(layers nocache | sed -n 2p)" "$(sed -n 2p <<<"$first")"

claim "A heavy COPY of its own stays when a later one changes"
mkdir heavy && head -c 20000000 /dev/urandom >heavy/data && echo 1 >heavy/light
printf 'FROM busybox\nCOPY data /\nCOPY light /\n' >heavy/Dockerfile
docker build -q -t heavy heavy >/dev/null
first=$(layers heavy)
echo 2 >heavy/light
build log -t heavy heavy
is "the heavy layer" "$(layers heavy | sed -n 2p)" "$(sed -n 2p <<<"$first")"
is "was not read again" "$(grep -c CACHED log)" 2

claim "Exercise: COPY app before RUN"
cat >project/step1/Dockerfile <<'D'
FROM python:3
COPY requirements.txt /requirements.txt
COPY app /app
RUN pip install -r /requirements.txt
EXPOSE 5000
CMD ["python3", "/app/api.py"]
D
build log -t simple_api_img project/step1
echo 'print("a code line")' >>project/step1/app/api.py
build log --progress=plain -t simple_api_img project/step1
is "only FROM and the COPY of the requirements are hits" "$(grep -c CACHED log)" 2
has "RUN is executed again" "$(cat log)" "Successfully installed"

the_end
