#!/usr/bin/env bash
# Seed 000, "Layered Architecture": the Flask application; history, image inspect, run -p.
. "$(dirname "$0")/../lib.sh"

# The seed's base, with the history that Docker Hub's image has; its Python is another 3.x.
python3 "$seeds/docker_image.py" "$("$repo/scripts/base" python)" python:3.8 python.tar \
  PATH=/usr/local/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8
is "load names the image" "$(docker load -i python.tar)" "Loaded image: python:3.8"
rm python.tar

claim "Steps 1 to 3: app.py, requirements.txt and Dockerfile in one directory"
mkdir my-python-app && cd my-python-app
# Byte for byte as in the seed: only requirements.txt ends in a newline, which makes the 288 bytes of its COPY row.
printf '%s' "from flask import Flask
app = Flask(__name__)

@app.route('/')
def hello_world():
    return 'Hello, Docker!'

if __name__ == '__main__':
    app.run(debug=True, host='0.0.0.0')" >app.py
echo flask >requirements.txt
printf '%s' 'FROM python:3.8

COPY . /app
WORKDIR /app
RUN pip install -r requirements.txt

CMD ["python", "./app.py"]' >Dockerfile

claim "Step 4: docker build -t my-python-app ."
build ../log -t my-python-app .
has "pip ran inside RUN" "$(cat ../log)" "Successfully installed"
is "the tag is normalised" "$(docker images --format '{{.Repository}}:{{.Tag}}' my-python-app)" "my-python-app:latest"
id=$(docker images -q --no-trunc my-python-app)
matches "the ID is a digest" "$id" '^sha256:[0-9a-f]{64}$'

claim "Layer caching: nothing is executed twice"
start=$(date +%s%N)
build ../log2 -t my-python-app .
at_most "milliseconds of a build from the cache" $((($(date +%s%N) - start) / 1000000)) 1000
is "all four steps are cached" "$(grep -c 'CACHED' ../log2)" 4
hasnt "RUN did not run" "$(cat ../log2)" "Successfully installed"
is "the same image" "$(docker images -q --no-trunc my-python-app)" "$id"
is "build -q prints the ID" "$(docker build -q -t my-python-app .)" "$id"

claim "Step 5: docker history my-python-app"
# Two hours later, so that every row of this build has the same age.
export STRATA_NOW=$(($(date +%s) + 7200))
row() { # printf pads by bytes, tables are padded by characters
  local width
  for width in 15 15 48 10; do
    printf '%s%*s' "$1" $((width - ${#1})) ''
    shift
  done
  echo "$1"
}
missing='<missing>'
buildkit=buildkit.dockerfile.v0
short=${id#sha256:}
pip=$(docker history --format '{{.Size}}' my-python-app | sed -n 2p)
root=$(docker history --format '{{.Size}}' my-python-app | tail -1)
added=$(docker history --no-trunc --format '{{.CreatedBy}}' my-python-app | tail -1)
want=$(
  row IMAGE CREATED "CREATED BY" SIZE COMMENT
  row "${short:0:12}" "2 hours ago" 'CMD ["python" "./app.py"]' 0B $buildkit
  row "$missing" "2 hours ago" 'RUN /bin/sh -c pip install -r requirements.t…' "$pip" $buildkit
  row "$missing" "2 hours ago" 'WORKDIR /app' 0B $buildkit
  row "$missing" "2 hours ago" 'COPY . /app # buildkit' 288B $buildkit
  row "$missing" "2 months ago" 'CMD ["python3"]' 0B $buildkit
  row "$missing" "2 months ago" 'ENV LANG=C.UTF-8' 0B $buildkit
  row "$missing" "2 months ago" 'ENV PATH=/usr/local/bin:/usr/local/sbin:/usr…' 0B $buildkit
  row "$missing" "2 months ago" '/bin/sh -c #(nop)  CMD ["bash"]' 0B ''
  row "$missing" "2 months ago" "${added:0:44}…" "$root" ''
)
is "the whole table" "$(docker history my-python-app)" "$want"
matches "pip's layer has megabytes" "$pip" '^[0-9.]+MB$'
matches "so has the base" "$root" '^[0-9.]+MB$'
unset STRATA_NOW

claim "Step 5: every layer of RootFS belongs to a row, also the WORKDIR row of size 0"
is "rows with a layer" "$(docker history --format '{{.Layer}}' my-python-app | grep -c sha256)" \
  "$(docker image inspect --format '{{len .RootFS.Layers}}' my-python-app)"
is "WORKDIR on an existing directory is the empty layer" "$(layers my-python-app | sed -n 3p)" \
  sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef
is "the sizes of the rows add up" \
  "$(docker history --human=false --format '{{.Size}}' my-python-app | awk '{s += $1} END {print s}')" "$(size my-python-app)"

claim "Step 5: docker image inspect my-python-app"
docker image inspect my-python-app >../inspect.json
is "the keys, in the seed's order" "$(jq -r '.[0] | keys_unsorted | join(" ")' ../inspect.json)" \
  "Id RepoTags RepoDigests Parent Comment Created Container ContainerConfig DockerVersion Author Config Architecture Os Size VirtualSize GraphDriver RootFS Metadata"
config_keys="Hostname Domainname User AttachStdin AttachStdout AttachStderr Tty OpenStdin StdinOnce Env Cmd ArgsEscaped Image Volumes WorkingDir Entrypoint OnBuild Labels"
is "the keys of Config" "$(jq -r '.[0].Config | keys_unsorted | join(" ")' ../inspect.json)" "$config_keys"
has "four spaces of indent" "$(cat ../inspect.json)" "
        \"Id\": \"$id\",
        \"RepoTags\": [
            \"my-python-app:latest\"
        ],
        \"RepoDigests\": [],
        \"Parent\": \"\",
        \"Comment\": \"buildkit.dockerfile.v0\","
of() { jq -c ".[0]$1" ../inspect.json; }
is "Cmd" "$(of .Config.Cmd)" '["python","./app.py"]'
is "ArgsEscaped" "$(of .Config.ArgsEscaped)" true
is "WorkingDir" "$(of .Config.WorkingDir)" '"/app"'
is "Env" "$(of .Config.Env)" '["PATH=/usr/local/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin","LANG=C.UTF-8"]'
is "nothing else is set" "$(of '.Config | [.Hostname, .User, .Tty, .Volumes, .Entrypoint, .OnBuild, .Labels]')" '["","",false,null,null,null,null]'
matches "Created" "$(of .Created)" '^"20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\.?[0-9]*(Z|[+-][0-9:]{5})"$'
is "Os" "$(of .Os)" '"linux"'
is "VirtualSize is Size" "$(of .VirtualSize)" "$(of .Size)"
is "RootFS" "$(of .RootFS.Type) $(of '.RootFS.Layers | length')" '"layers" 4'
is "GraphDriver" "$(of .GraphDriver.Name)" '"overlay2"'
is "its data" "$(of '.GraphDriver.Data | keys_unsorted')" '["LowerDir","MergedDir","UpperDir","WorkDir"]'
is "a directory for every layer" "$(of .GraphDriver.Data | jq -r '[.UpperDir, .LowerDir] | join(":")' | tr : '\n' | grep -c "^$STRATA_ROOT/overlay2/.*/diff$")" 4
matches "LastTagTime" "$(of .Metadata.LastTagTime)" '^"20[0-9]{2}-'

claim "Step 6 and 7: docker run -p 5000:5000 my-python-app, then http://localhost:5000"
port=$(free_port 5000)
env --default-signal=INT "$STRATA" run -p "$port:5000" my-python-app >../run.out 2>&1 &
runner=$!
is "the page, by name" "$(get "http://localhost:$port")" "Hello, Docker!"
is "the page, over IPv4" "$(get "http://127.0.0.1:$port")" "Hello, Docker!"
is "the page, over IPv6" "$(get "http://[::1]:$port")" "Hello, Docker!"
has "the foreground shows what the application writes" "$(cat ../run.out)" "Running on"
has "ps shows the port" "$(docker ps --format '{{.Ports}}')" "0.0.0.0:$port->5000/tcp"
kill -INT $runner
status=0
wait $runner || status=$?
isnt "Ctrl-C ended it" "$(docker ps -q | count)" 1
is "it is kept, as exited" "$(docker ps -a --format '{{.State}}')" exited
fails "nothing listens any more" 7 "" curl --silent --noproxy '*' "http://127.0.0.1:$port"
docker rm "$(docker ps -aq)" >/dev/null

claim "Benefits: common layers are stored once"
before=$(du -s --block-size=1 "$STRATA_ROOT" | cut -f1)
printf 'FROM python:3.8\nCOPY app.py /\n' >../other.Dockerfile
docker build -q -t other -f ../other.Dockerfile . >/dev/null
after=$(du -s --block-size=1 "$STRATA_ROOT" | cut -f1)
at_most "bytes that a second image on the base takes" $((after - before)) 1000000
is "its size counts the base" "$(docker image inspect -f '{{.Size}}' other)" "$(($(size python:3.8) + 177))"

the_end
