#!/usr/bin/env bash
# Seed 003, "Building a Image", "Building a Container": Ubuntu and Flask, source-code-2, docker system df.
. "$(dirname "$0")/../lib.sh"

base ubuntu python

claim "FROM Ubuntu is refused, as by Docker: names are lower case"
mkdir my-custom-app
printf 'FROM Ubuntu\n' >my-custom-app/Dockerfile
fails "the error" 1 'repository name (library/Ubuntu) must be lowercase' docker build -t my-app my-custom-app
fails "what to write instead" 1 'did you mean `ubuntu`?' docker build -t my-app my-custom-app
fails "a missing directory" 1 'unable to prepare context: path "my-other-app" not found' docker build -t my-app my-other-app

claim "Building a Image: docker build -t my-app my-custom-app"
# Debian has no package called python any more; the seed's pip packages are installed for real.
cat >my-custom-app/Dockerfile <<'D'
FROM ubuntu
RUN apt-get update && apt-get install python-is-python3 -y
RUN pip install flask flask-mysql
COPY . /opt/source-code
ENTRYPOINT FLASK_APP=/opt/source-code/app.py flask run
D
cat >my-custom-app/app.py <<'PY'
import os
from flask import Flask
app = Flask(__name__)

@app.route("/")
def app_name():
    return os.environ["FLASK_APP"]
PY
build log -t my-app my-custom-app
has "pip ran" "$(cat log)" "Successfully installed"

claim "Five instructions, five rows, each with its size"
is "the rows" "$(docker history --no-trunc --format '{{.CreatedBy}}' my-app | head -4)" \
  'ENTRYPOINT ["/bin/sh" "-c" "FLASK_APP=/opt/source-code/app.py flask run"]
COPY . /opt/source-code # buildkit
RUN /bin/sh -c pip install flask flask-mysql # buildkit
RUN /bin/sh -c apt-get update && apt-get install python-is-python3 -y # buildkit'
sizes=$(docker history --human=false --format '{{.Size}}' my-app)
is "ENTRYPOINT has 0 bytes" "$(sed -n 1p <<<"$sizes")" 0
is "COPY has those of its files" "$(sed -n 2p <<<"$sizes")" "$(cat my-custom-app/* | wc -c)"
ok "pip has megabytes" [ "$(sed -n 3p <<<"$sizes")" -gt 1000000 ]
is "the entry point keeps the assignment" "$(docker inspect -f '{{json .Config.Entrypoint}}' my-app)" \
  '["/bin/sh","-c","FLASK_APP=/opt/source-code/app.py flask run"]'

claim "A changed line 4: lines 1 to 3 from the cache, 4 and 5 again"
sed -i 's,COPY . /opt/source-code,&-2,' my-custom-app/Dockerfile
build log --progress=classic -t my-app-2 my-custom-app
is "the console" "$(grep -E '^(Step| ---> Using)' log)" "Step 1/5 : FROM ubuntu
Step 2/5 : RUN apt-get update && apt-get install python-is-python3 -y
 ---> Using cache
Step 3/5 : RUN pip install flask flask-mysql
 ---> Using cache
Step 4/5 : COPY . /opt/source-code-2
Step 5/5 : ENTRYPOINT FLASK_APP=/opt/source-code/app.py flask run"
is "layers 1 to 3 are shared" "$(layers my-app-2 | head -3)" "$(layers my-app | head -3)"
isnt "layer 4 is not" "$(layers my-app-2 | tail -1)" "$(layers my-app | tail -1)"

claim "docker image ls shows the whole size of both, docker system df what is there once"
listed=$(docker image ls --format '{{.Repository}} {{.Size}}' | sort)
is "both have the size of all their layers" "$(grep -c "$(awk '/^my-app /{print $2}' <<<"$listed")" <<<"$listed")" 2
one=$(size my-app) two=$(size my-app-2)
code=$(cat my-custom-app/* | wc -c)
human() { docker system df --format '{{.Type}} {{.Size}}' | sed -n 's/^Images //p'; }
number() { awk '{n = $1 + 0; if ($1 ~ /GB/) n *= 1000; if ($1 ~ /kB/) n /= 1000; print int(n + 0.5)}'; }
at_most "MB between the total and one image" "$(($(human | number) - (one + code) / 1000000))" 1
table=$(docker system df)
is "the header" "$(head -1 <<<"$table" | tr -s ' ' | sed 's/ $//')" "TYPE TOTAL ACTIVE SIZE RECLAIMABLE"
is "the rows" "$(tail -n +2 <<<"$table" | awk '{print $1}' | tr '\n' ' ')" "Images Containers Local Build "
verbose=$(docker system df -v)
has "-v has a section for images" "$verbose" "Images space usage:"
has "with what is shared and what is not" "$verbose" "SHARED SIZE"
rest=$(grep '^my-app-2 ' <<<"$verbose")
matches "my-app-2 shares nearly all" "$rest" 'MB +[0-9.]+MB +[0-9.]+(k?B) +0'
ok "the sizes are those of two images" [ "$one" -gt 0 -a "$two" -gt 0 ]

claim "docker history [imageid]"
id=$(docker images -q --no-trunc my-app)
is "by the whole ID" "$(docker history -q "$id" | head -1)" "$(docker images -q my-app)"
is "by a prefix" "$(docker history "${id:7:6}" | count)" "$(docker history my-app | count)"
fails "of nothing" 1 "No such image" docker history nosuchimage

claim "Once an image is built, it cannot be edited"
docker run -d --name editor --entrypoint sleep my-app 100 >/dev/null
lower=$(docker inspect -f '{{.GraphDriver.Data.LowerDir}}' editor | tr : '\n' | grep "^$STRATA_ROOT/overlay2" | head -1)
docker exec editor sh -c 'echo edited >> /opt/source-code/app.py'
hasnt "the image's layer is as it was" "$(cat "$lower/opt/source-code/app.py" 2>/dev/null || docker run --rm --entrypoint cat my-app /opt/source-code/app.py)" edited
has "copy on write: the container has its own" "$(docker exec editor cat /opt/source-code/app.py)" edited
is "which is in its layer alone" "$(docker diff editor)" "C /opt
C /opt/source-code
C /opt/source-code/app.py"
docker rm -f editor >/dev/null

claim "Building a Container: docker run -d my-custom-app"
# The port of the proxy is closed: a test asks nobody outside.
HTTPS_PROXY=http://127.0.0.1:9 fails "the seed built my-app: Docker fails the same" 125 "Unable to find image 'my-custom-app:latest' locally" docker run -d my-custom-app
docker tag my-app my-custom-app
container=$(docker run -d my-custom-app)
matches "the container's ID" "$container" '^[0-9a-f]{64}$'
answer=
for _ in $(seq 100); do
  answer=$(docker exec "$container" python3 -c '
import urllib.request
print(urllib.request.urlopen("http://127.0.0.1:5000").read().decode())' 2>/dev/null) && break || sleep 0.2
done
is "it runs with the variable set" "$answer" /opt/source-code/app.py
docker rm -f "$container" >/dev/null

claim "All containers created from an image are the same at the start"
# Each has its own name and address, of course.
print='find / -xdev -type f ! -path "/etc/host*" ! -path /etc/resolv.conf ! -path /.dockerenv -printf "%p %s %T@\\n" | sort | sha256sum'
is "ten containers, one content" "$(for _ in $(seq 10); do docker run --rm --network none --entrypoint sh my-app -c "$print"; done | sort -u | count)" 1

claim "A mounted volume keeps what the container layer loses"
docker run --rm -v state:/state --entrypoint sh my-app -c 'echo kept > /state/file; echo lost > /file'
is "the volume" "$(docker run --rm -v state:/state --entrypoint cat my-app /state/file)" kept
fails "the layer" 1 "" docker run --rm --entrypoint cat my-app /file

the_end
