#!/usr/bin/env python3
"""docker_image.py ROOTFS.tar NAME OUT.tar [ENV=VALUE...] - wraps a root file system as `docker save` would have.

The history is that of a Docker Hub Python image: rows of the classic builder at the bottom (no comment), rows of
BuildKit above them, two months and a day old, so that the seeds' tables can be compared to the end.
"""
import datetime, hashlib, io, json, os, sys, tarfile

rootfs, name, out, *env = sys.argv[1:]
now = datetime.datetime.now(datetime.timezone.utc)
ago = lambda days: (now - datetime.timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%S.123456789Z")

digest = hashlib.sha256()
with open(rootfs, "rb") as file:
    while block := file.read(1 << 20):
        digest.update(block)
layer = digest.hexdigest()

history = [
    {"created": ago(70), "created_by": f"/bin/sh -c #(nop) ADD file:{layer} in / "},
    {"created": ago(70), "created_by": '/bin/sh -c #(nop)  CMD ["bash"]', "empty_layer": True},
]
history += [{"created": ago(68), "created_by": f"ENV {pair}", "comment": "buildkit.dockerfile.v0", "empty_layer": True}
            for pair in env]
history.append({"created": ago(68), "created_by": 'CMD ["python3"]', "comment": "buildkit.dockerfile.v0",
                "empty_layer": True})
config = json.dumps({
    "architecture": {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine],
    "config": {"Env": env, "Cmd": ["python3"]},
    "created": ago(68), "history": history, "os": "linux",
    "rootfs": {"type": "layers", "diff_ids": ["sha256:" + layer]},
}).encode()
config_name = hashlib.sha256(config).hexdigest() + ".json"
manifest = json.dumps([{"Config": config_name, "RepoTags": [name], "Layers": [layer + "/layer.tar"]}]).encode()

with tarfile.open(out, "w") as tar:
    for path, data in ((config_name, config), ("manifest.json", manifest)):
        info = tarfile.TarInfo(path)
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))
    tar.add(rootfs, layer + "/layer.tar")
