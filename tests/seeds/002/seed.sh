#!/usr/bin/env bash
# Seed 002, "The layered architecture of Docker images and containers": httpd, three images, the R/W layer.
. "$(dirname "$0")/../lib.sh"

# httpd:2.4 as far as the seed looks at it: Debian with apt, and the page that is deleted later.
base debian debian
mkdir httpd && echo '<html><body><h1>It works!</h1></body></html>' >httpd/index.html
printf 'FROM debian\nCOPY index.html /usr/local/apache2/htdocs/\n' | docker build -q -t httpd:2.4 -f - httpd >/dev/null

# The seed's own spelling, twice.
layers_of() { docker inspect -f "{{ range .RootFS.Layers }}{{ println . }}{{end}}" "$1"; }
size_of() { docker inspect -f "{{ .Size }}" "$1"; }

mkdir site && cd site
claim "dockerlayers:0.1: the layers of httpd:2.4 and one more"
cat >Dockerfile <<'D'
FROM httpd:2.4
RUN apt update -y && apt upgrade -y && apt autoremove -y && apt clean && rm -rf /var/lib/apt/lists*
D
build ../log -t dockerlayers:0.1 .
base=$(layers_of httpd:2.4) first=$(layers_of dockerlayers:0.1)
is "one digest a line, and an empty line at the end" "$(docker inspect -f "{{ range .RootFS.Layers }}{{ println . }}{{end}}" httpd:2.4 | count)" 3
matches "digests" "$base" '^(sha256:[0-9a-f]{64}
?){2}$'
is "one more" "$(count <<<"$first")" 3
is "the others are the base's" "$(head -2 <<<"$first")" "$base"

claim "dockerlayers:0.2: one more layer, although it only deletes a file"
cat >Dockerfile <<'D'
FROM httpd:2.4
RUN apt update -y && apt upgrade -y && apt autoremove -y && apt clean && rm -rf /var/lib/apt/lists*
RUN rm -f /usr/local/apache2/htdocs/index.html
D
build ../log -t dockerlayers:0.2 .
second=$(layers_of dockerlayers:0.2)
is "one more" "$(count <<<"$second")" 4
is "the others are those of 0.1" "$(head -3 <<<"$second")" "$first"
is "{{ .Size }} is the same" "$(size_of dockerlayers:0.2)" "$(size_of dockerlayers:0.1)"
is "the file is hidden" "$(docker run --rm dockerlayers:0.2 ls /usr/local/apache2/htdocs)" ""
is "not removed" "$(docker run --rm dockerlayers:0.1 ls /usr/local/apache2/htdocs)" index.html
docker save dockerlayers:0.2 -o ../saved.tar
top=$(tar -xOf ../saved.tar manifest.json | jq -r '.[0].Layers[-1]')
is "the layer holds a whiteout and no data" "$(tar -xOf ../saved.tar "$top" | tar -tvf - | grep -v '/$' | awk '{print $3, $6}')" \
  "0 usr/local/apache2/htdocs/.wh.index.html"
rm ../saved.tar

claim "dockerlayers:0.3: WORKDIR and COPY, 164 bytes more"
printf '%s' '<html>
  <head>
    <title>Docker layers</title>
  </head>
  <body>
    <h1>Docker layers</h1>
    <p>This is an example showing Docker layers</p>
  </body>
</html>' >index.html
cat >Dockerfile <<'D'
FROM httpd:2.4
RUN apt update -y && apt upgrade -y && apt autoremove -y && apt clean && rm -rf /var/lib/apt/lists*
RUN rm -f /usr/local/apache2/htdocs/index.html
WORKDIR /usr/local/apache2/htdocs
COPY index.html .
D
build ../log -t dockerlayers:0.3 .
third=$(layers_of dockerlayers:0.3)
is "the layers of 0.2 first" "$(head -4 <<<"$third")" "$second"
is "two more, as the seed's list shows" "$(count <<<"$third")" 6
is "WORKDIR's is the empty layer" "$(sed -n 5p <<<"$third")" sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef
is "{{ .Size }}" "$(($(size_of dockerlayers:0.3) - $(size_of dockerlayers:0.2)))" 164
is "the new page" "$(docker run --rm dockerlayers:0.3 cat index.html)" "$(cat index.html)"

claim "The R/W layer: changes live and die with their container"
docker run -d --name one dockerlayers:0.3 sleep 100 >/dev/null
docker run -d --name two dockerlayers:0.3 sleep 100 >/dev/null
docker exec one sh -c 'echo changed > index.html; echo added > added; rm /etc/issue'
is "its own changes" "$(docker exec one cat index.html added)" "changed
added"
fails "the other does not see the new file" 1 "added" docker exec two cat added
is "nor the changed one" "$(docker exec two head -c 6 index.html)" "<html>"
is "nor the deletion" "$(docker exec two ls /etc/issue)" /etc/issue
upper=$(docker inspect -f '{{.GraphDriver.Data.UpperDir}}' one)
ok "the layer exists" [ -e "$upper/usr/local/apache2/htdocs/added" ]
docker rm -f one >/dev/null
ok "rm deletes it" [ ! -e "$upper" ]
is "a new container starts from the image" "$(docker run --rm dockerlayers:0.3 ls)" index.html

claim "Volumes persist"
docker run --rm -v data:/data dockerlayers:0.3 sh -c 'echo kept > /data/file'
is "after the container is gone" "$(docker run --rm -v data:/data dockerlayers:0.1 cat /data/file)" kept
is "a volume over a path of the image starts as its copy" \
  "$(docker run --rm -v page:/usr/local/apache2/htdocs dockerlayers:0.3 cat index.html | wc -c)" 164
docker rm -f two >/dev/null
docker volume rm data page >/dev/null

the_end
