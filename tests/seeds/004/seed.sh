#!/usr/bin/env bash
# Seed 004, "Layered Architecture", the long reference: every command it types, its Dockerfiles on bases made here.
. "$(dirname "$0")/../lib.sh"

# The seed's bases. What it takes from Node, Go or nginx is not needed to show layers: stand-ins do their part.
base ubuntu:22.04 debian
base busybox:latest busybox
base alpine:3.18 busybox
mkdir node
cat >node/npm <<'SH'
#!/bin/sh
# A stand-in for npm: `install` makes node_modules of package.json, `run build` makes dist of the sources.
case $1 in
  install) mkdir -p node_modules && cp package.json node_modules/ && echo "added 1 package" ;;
  run) mkdir -p dist && cat *.js > dist/main.js && echo "built" ;;
esac
SH
chmod +x node/npm
printf 'FROM alpine:3.18\nCOPY npm /bin/\n' | docker build -q -t node:18 -t node:18-alpine -f - node >/dev/null
printf 'FROM alpine:3.18\nRUN mkdir -p /etc/nginx && echo "daemon off;" > /etc/nginx/nginx.conf\nEXPOSE 80\nCMD ["nginx", "-g", "daemon off;"]\n' |
  docker build -q -t nginx:latest -f - node >/dev/null

claim "Layer structure: node:18, WORKDIR, RUN npm install, COPY, ENTRYPOINT"
mkdir app && cd app
echo '{"name": "app"}' >package.json
echo 'console.log("app")' >app.js
printf 'FROM node:18\nWORKDIR /app\nCOPY package.json .\nRUN npm install\nCOPY app.js /app/\nENTRYPOINT ["app"]\n' | docker build -q -t structure -f - . >/dev/null
is "data for WORKDIR, COPY, RUN, COPY, and the base's" "$(docker image inspect structure --format='{{len .RootFS.Layers}}')" \
  $(($(docker image inspect node:18 --format='{{len .RootFS.Layers}}') + 4))

claim "Dockerfile instructions and layers: a comment behind an instruction is no comment"
printf 'FROM ubuntu:22.04          # Layer 1: Base image\nRUN apt-get update         # Layer 2\n' >commented
fails "FROM, as Docker puts it" 1 "FROM requires either one or three arguments" docker build -f commented .
fails "and what to do" 1 'starts a comment only at' docker build -f commented .
printf 'FROM busybox\nEXPOSE 80                  # Layer 5: Metadata\n' >commented
fails "EXPOSE" 1 "invalid containerPort: #" docker build -f commented .
printf 'FROM busybox\nRUN echo fine > /f         # a comment of the shell\n' >commented
ok "RUN passes it to the shell" build ../log -t commented -f commented .
printf 'FROM busybox\nENV A=1\nEXPOSE 80\nLABEL l=1\nENTRYPOINT ["x"]\nCMD ["nginx", "-g", "daemon off;"]\n' | docker build -q -t metadata -f - . >/dev/null
is "metadata has 0B" "$(docker history --format '{{.Size}}' metadata | head -5 | sort -u)" 0B
is "and no layer" "$(layers metadata)" "$(layers busybox)"

claim "Viewing layer information"
has "docker history nginx:latest" "$(docker history nginx:latest)" 'CMD ["nginx" "-g" "daemon off;"]'
image=nginx:latest
is "docker image inspect" "$(docker image inspect $image | jq -r '.[0].RepoTags[0]')" $image
is "{{.RootFS.Layers}} is printed as Go prints a slice" "$(docker image inspect $image --format='{{.RootFS.Layers}}')" "[$(layers $image | paste -sd' ')]"
is "a table of two columns, flags behind the image" "$(docker history $image --format "table {{.Size}}\t{{.CreatedBy}}" --no-trunc | head -2)" \
  "$(printf '%-10s%s\n' SIZE 'CREATED BY' 0B 'CMD ["nginx" "-g" "daemon off;"]')"
is "{{json .RootFS}} | jq" "$(docker image inspect $image --format='{{json .RootFS}}' | jq -c .)" \
  "{\"Type\":\"layers\",\"Layers\":$(layers $image | jq -Rsc 'split("\n")[:-1]')}"
is "{{range}}" "$(docker image inspect $image --format='{{range .RootFS.Layers}}{{println .}}{{end}}' | head -1)" "$(layers busybox)"
# The clock stands still, so that both say the same "seconds ago".
export STRATA_NOW=$(($(date +%s) + 7200))
is "--human=true is the default" "$(docker history --human=true $image)" "$(docker history $image)"
unset STRATA_NOW
matches "--human=false has times and bytes" "$(docker history --human=false $image)" 'CREATED AT.*20[0-9]{2}-[0-9]{2}-[0-9]{2}T'
fails "an unknown field" 1 "can't evaluate field Bad" docker history --format '{{.Bad}}' $image
fails "a broken template" 64 "template parsing error" docker image inspect --format '{{.Id' $image

claim "Layer sharing between images"
docker system df -v >../df
is "both node tags are one image" "$(docker images -q node:18)" "$(docker images -q node:18-alpine)"
docker tag structure my-app:v1
is "layers are in the store once" "$(find "$STRATA_ROOT/layers/sha256" -type f -regex '.*/[0-9a-f]*' | count)" \
  "$(for i in $(docker images -q | sort -u); do layers "$i"; done | sort -u | count)"

claim "Layer sharing between containers: ten containers of one image"
head -c 50000000 /dev/urandom >../big
printf 'FROM busybox\nCOPY big /big\n' | docker build -q -t big -f - .. >/dev/null
rm ../big
# The first container shows the layer, which takes space where layers must be unpacked for that.
docker run --rm --network none big true
used() { du -s --block-size=1 "$STRATA_ROOT" --one-file-system | cut -f1; }
before=$(used)
for i in $(seq 10); do
  docker run -d --name "c$i" --network none big sh -c 'head -c 1000000 /dev/zero > /mine; exec sleep 300' >/dev/null
done
for i in $(seq 10); do
  for _ in $(seq 50); do [ "$(docker exec "c$i" stat -c %s /mine 2>/dev/null)" = 1000000 ] && break || sleep 0.1; done
done
at_most "bytes of ten containers that wrote 1 MB each" $(($(used) - before)) 12000000
is "one inode of the big file for all" "$(for i in $(seq 10); do docker exec "c$i" stat -c %i /big; done | sort -u | count)" 1
dirs=$(docker image inspect -f '{{.GraphDriver.Data.UpperDir}}:{{.GraphDriver.Data.LowerDir}}' big | tr : '\n')
at_most "mounts of its two layers, whatever the number of containers" "$(grep -cF "$dirs" /proc/self/mountinfo || true)" 2
is "ps -s counts what is their own" "$(docker ps -s --format '{{.Size}}' | cut -d' ' -f1 | sort -u)" 1MB
docker rm -f $(docker ps -q) >/dev/null

claim "Cache behaviour: hit, miss, invalidation; efficient ordering"
cat >Dockerfile <<'D'
FROM node:18
WORKDIR /app
COPY package*.json ./
RUN npm install
COPY . .
CMD ["node", "app.js"]
D
printf 'Dockerfile\ncommented\n' >.dockerignore
build ../log --progress=plain -t myapp .
has "npm install runs" "$(cat ../log)" "added 1 package"
build ../log --progress=plain -t myapp .
is "nothing changed: all cached" "$(grep -c CACHED ../log)" 5
echo 'console.log("changed")' >app.js
build ../log --progress=plain -t myapp .
hasnt "sources changed: npm install is kept" "$(cat ../log)" "added 1 package"
is "what is cached" "$(grep -c CACHED ../log)" 4
echo '{"name": "app", "version": "2"}' >package.json
build ../log --progress=plain -t myapp .
has "package.json changed: npm install again" "$(cat ../log)" "added 1 package"
cat >../inefficient <<'D'
FROM node:18
WORKDIR /app
COPY . .
RUN npm install
CMD ["node", "app.js"]
D
build ../log --progress=plain -t slow -f ../inefficient .
echo 'console.log("again")' >app.js
build ../log --progress=plain -t slow -f ../inefficient .
has "the other order installs after every change" "$(cat ../log)" "added 1 package"

claim "Build cache management and troubleshooting"
build ../log --no-cache -t myapp .
has "docker build --no-cache" "$(cat ../log)" "added 1 package"
build ../log --cache-from myapp:latest -t myapp:v2 .
hasnt "docker build --cache-from: everything is there" "$(cat ../log)" "added 1 package"
matches "docker build ... | grep 'Sending build context'" "$(docker build --no-cache -t myapp . 2>&1 | grep "Sending build context")" \
  '^Sending build context to (strata|Docker daemon)  [0-9.]+k?B$'
isnt "cat .dockerignore" "$(cat .dockerignore)" ""

claim ".dockerignore"
mkdir -p node_modules/x .git && touch node_modules/x/y .git/config .env debug.log README.md
printf 'node_modules\n.git\n.env\n*.log\nREADME.md\n' >.dockerignore
printf 'FROM busybox\nCOPY . /context\n' | docker build -q -t context -f - . >/dev/null
is "what reaches the image" "$(docker run --rm context ls -A /context | sort | tr '\n' ' ')" ".dockerignore Dockerfile app.js commented package.json "
echo more >>debug.log
printf 'FROM busybox\nCOPY . /context\n' | docker build --progress=plain -t context -f - . >../log 2>&1
is "an ignored file that changes is no change" "$(grep -c CACHED ../log)" 2

claim "Layer size: what a later RUN deletes stays; one RUN leaves nothing"
mkdir ../sizes
cat >../sizes/three <<'D'
FROM busybox
RUN head -c 2300000 /dev/urandom > /lists
RUN head -c 8500000 /dev/urandom > /package
RUN rm /lists
D
cat >../sizes/one <<'D'
FROM busybox
RUN head -c 2300000 /dev/urandom > /lists && \
    head -c 8500000 /dev/urandom > /package && \
    rm /lists
D
docker build -q -t three -f ../sizes/three ../sizes >/dev/null
docker build -q -t one -f ../sizes/one ../sizes >/dev/null
is "three RUNs" $(($(size three) - $(size busybox))) 10800000
is "one RUN" $(($(size one) - $(size busybox))) 8500000
is "du inside does not see it" "$(docker run --rm three sh -c 'ls /lists 2>/dev/null; du -k /package' | awk '{print int($1 / 1000)}')" 8

claim "Multi-line RUN with clean-up, with a real apt-get"
cat >../sizes/apt <<'D'
FROM ubuntu:22.04
RUN apt-get update && apt-get install -y \
    --no-install-recommends \
    less \
    && apt-get clean \
    && rm -rf /var/lib/apt/lists/* /tmp/* /var/tmp/*
D
build ../log -t apt -f ../sizes/apt ../sizes
is "it is installed" "$(docker run --rm apt sh -c 'command -v less; ls /var/lib/apt/lists')" /usr/bin/less

claim "Layer storage location"
has "docker info | grep 'Storage Driver'" "$(docker info | grep "Storage Driver")" " Storage Driver: overlay2"
is "the root directory" "$(docker info -f '{{.DockerRootDir}}')" "$STRATA_ROOT"
upper=$(docker image inspect -f '{{.GraphDriver.Data.UpperDir}}' one)
matches "overlay2/<id>/diff" "$upper" "^$STRATA_ROOT/overlay2/[^/]+/diff$"
docker run -d --name looker --network none one sleep 100 >/dev/null
is "ls overlay2/<id>/diff/ shows the layer, while something uses it" "$(ls "$upper")" package
docker rm -f looker >/dev/null

claim "Multi-stage builds"
cd .. && mkdir web && cd web
cp ../app/package.json . && echo 'console.log("main")' >main.js
cat >Dockerfile <<'D'
# Stage 1: Build environment
FROM node:18 AS builder
WORKDIR /app
COPY package*.json ./
RUN npm install
COPY . .
RUN npm run build

# Stage 2: Production environment (only this creates final image layers)
FROM node:18-alpine
WORKDIR /app
COPY --from=builder /app/dist ./dist
COPY --from=builder /app/node_modules ./node_modules
EXPOSE 3000
CMD ["node", "dist/main.js"]
D
build ../log -t web .
is "only the second stage's layers" "$(docker image inspect --format='{{len .RootFS.Layers}}' web)" $(($(docker image inspect --format='{{len .RootFS.Layers}}' node:18-alpine) + 3))
is "with what the first one made" "$(docker run --rm web sh -c 'ls /app; cat dist/main.js')" 'dist
node_modules
console.log("main")'

claim "Copying from previous stages: a stage nobody needs is not built"
cat >Dockerfile <<'D'
FROM alpine:3.18 AS builder
WORKDIR /app
COPY . .
RUN printf '#!/bin/sh\necho myapp runs\n' > myapp && chmod +x myapp

FROM builder AS tester
RUN echo tests run && false

FROM alpine:3.18
COPY --from=builder /app/myapp /usr/local/bin/
CMD ["myapp"]
D
build ../log -t myapp .
hasnt "tester did not run" "$(cat ../log)" "tests run"
is "the product" "$(docker run --rm -e PATH=/usr/local/bin:/bin myapp)" "myapp runs"
fails "--target tester" 1 "did not complete successfully: exit code: 1" docker build --target tester .

claim "Copying from external images"
cat >Dockerfile <<'D'
FROM alpine:3.18
COPY --from=nginx:latest /etc/nginx/nginx.conf /etc/nginx/
COPY --from=busybox:latest /bin/busybox /bin/
D
build ../log -t external .
is "the file" "$(docker run --rm external cat /etc/nginx/nginx.conf)" "daemon off;"

claim "Layer immutability: verification finds a changed byte"
docker system fsck -q
victim=$STRATA_ROOT/layers/sha256/$(layers one | tail -1 | cut -d: -f2)
original=$(od -An -tx1 -j 100000 -N1 "$victim" | tr -d ' ')
flip() { printf "\\x$1" | dd of="$victim" bs=1 seek=100000 conv=notrunc status=none; }
flip "$(printf %02x $((0x$original ^ 0xff)))"
fails "fsck names the layer" 1 "$(basename "$victim")" docker system fsck
flip "$original"
ok "and is content when it is whole again" docker system fsck -q

claim "Container writable layer: new, changed and deleted files"
docker run -d --name writable --network none one sh -c 'rm /package; echo n > /new; echo c >> /etc/passwd; exec sleep 100' >/dev/null
for _ in $(seq 50); do docker exec writable grep -q c /etc/passwd 2>/dev/null && break || sleep 0.1; done
is "docker diff" "$(docker diff writable)" "C /etc
C /etc/passwd
A /new
D /package"
is "the image is not touched" "$(docker run --rm --network none one ls /package)" /package
docker rm -f writable >/dev/null

claim "Large image size: docker run --rm <image> du -sh /*"
has "it runs" "$(docker run --rm --network none one sh -c 'du -sh /*' 2>/dev/null)" "/package"

claim "Inspect layer content: docker save, tar -xf, the list of a layer"
mkdir ../saved && cd ../saved
docker save myapp -o image.tar
tar -xf image.tar
id=$(jq -r '.[0].Layers[-1]' manifest.json)
has "the layer's files" "$(tar -tf "$id")" usr/local/bin/myapp
ok "the layout is OCI's, too" [ -e oci-layout -a -e index.json ]
legacy=$(find . -name layer.tar | head -1)
has "<layer-id>/layer.tar: plain tar, as Docker 20.10 writes it" "$(for l in $(find . -name layer.tar); do tar -tf "$l"; done)" usr/local/bin/myapp
fails "so tar needs no -z" 2 "gzip" tar -tzf "$legacy"
docker rmi -f myapp >/dev/null
is "docker load" "$(docker load -i image.tar)" "Loaded image: myapp:latest"
cd ..

claim "Layer corruption: docker image prune -a, rebuild"
has "docker image prune -a" "$(docker image prune -a -f)" "Total reclaimed space: "
is "all images are gone" "$(docker images -q | count)" 0
base busybox:latest busybox
printf 'FROM busybox\nRUN echo rebuilt > /f\n' | docker build --no-cache -q -t myapp -f - app >/dev/null
is "rebuilt from scratch" "$(docker run --rm myapp cat /f)" rebuilt

the_end
