"""What the jobs read, made when first asked for."""
import hashlib, io, json, os, shutil, subprocess, tarfile
from functools import cached_property


def write(directory, name, text):
    with open(os.path.join(directory, name), "w") as file:
        file.write(text)


class Inputs:
    def __init__(self, directory, repo, files, builder, small=False):
        """`builder` makes what is best made by building an image: a tool. `small`: a tenth of everything."""
        self.directory, self.repo, self.builder, self.small = directory, repo, builder, small
        self.files = self.some(files)
        os.makedirs(directory)

    def some(self, count):
        """So many; a tenth of it when small inputs are wanted."""
        return max(count // 10, 1) if self.small else count

    def _directory(self, name, dockerfile):
        path = os.path.join(self.directory, name)
        os.makedirs(path)
        write(path, "Dockerfile", dockerfile)
        return path

    def _context(self, name, dockerfile, *args):
        path = self._directory(name, dockerfile)
        maker = os.path.join(self.repo, "bench/make_context.py")
        subprocess.run([maker, path, *args], check=True, stdout=subprocess.DEVNULL)
        return path

    def _base(self, kind):
        base = os.path.join(self.repo, "scripts/base")
        return subprocess.run([base, kind], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()

    @cached_property
    def busybox(self):
        return self._base("busybox")

    @cached_property
    def context(self):
        """`COPY . /app` of many small files."""
        return self._context("context", "FROM scratch\nCOPY . /app\n", "--files", str(self.files))

    @cached_property
    def huge(self):
        """The same, ten times as many."""
        return self._context("huge", "FROM scratch\nCOPY . /app\n", "--files", str(self.files * 10))

    @cached_property
    def big_file(self):
        return self._context("big", "FROM scratch\nCOPY big.bin /\n", "--files", "0", "--big-mib", str(self.some(2000)))

    @cached_property
    def steps(self):
        """Twenty RUN steps that do next to nothing."""
        return self._directory("steps", "FROM busybox\n" + "".join(f"RUN echo {i} > /file{i}\n" for i in range(20)))

    @cached_property
    def diamond(self):
        """Four stages that sleep; the two in the middle have nothing to do with each other."""
        return self._directory("diamond", "FROM busybox AS top\nRUN sleep 1 && echo top > /top\n"
                               "FROM top AS left\nRUN sleep 1 && echo left > /left\n"
                               "FROM top AS right\nRUN sleep 1 && echo right > /right\n"
                               "FROM busybox\nCOPY --from=left /left /\nCOPY --from=right /right /\nRUN sleep 1\n")

    @cached_property
    def long(self):
        """A Dockerfile of 5,000 lines with a bit of everything."""
        lines = ["# syntax=docker/dockerfile:1", "ARG VERSION=1"]
        for stage in range(50):
            base = f"stage{stage - 1}" if stage else "busybox"
            lines += [f"FROM {base} AS stage{stage}", f"ARG BUILD{stage}=x"]
            for step in range(16):
                lines += [f"# step {step} of {stage}", f"ENV PATH{step}=/opt/{stage}/${{BUILD{stage}:-none}}:$PATH",
                          f"RUN --mount=type=cache,target=/cache echo {step} && \\", f"    test {step} -ge 0 && \\",
                          f"    echo ${{BUILD{stage}}} > /file{step}", f'LABEL org.example.{step}="{stage} {step}"']
            lines += [f"COPY --chown=1:1 file{stage} /srv/", f"WORKDIR /srv/{stage}"]
        lines += ["USER nobody", 'CMD ["true"]']
        return self._directory("long", "\n".join((lines + ["# end"] * 5000)[:5000]) + "\n")

    def deep(self, count):
        """A layer for each of so many instructions."""
        count = self.some(count)
        path = os.path.join(self.directory, f"deep{count}")
        if not os.path.exists(path):
            self._directory(f"deep{count}", "FROM busybox\n" + "".join(f"COPY file /{i}\n" for i in range(count)))
            write(path, "file", "one line\n")
        return path

    @property
    def base_of_large(self):
        return self.busybox if self.small else self._base("python")

    @property
    def crowd(self):
        """How many images and containers are many."""
        return self.some(1000)

    @cached_property
    def large_archive(self):
        """An image of 650 MB, saved: a Python on Debian, 7,000 small files, one incompressible file."""
        dockerfile = "FROM scratch\nADD base.tar /\nCOPY pkg* big.bin /app/\n"
        path = self._context("large", dockerfile, "--files", str(self.some(7000)), "--big-mib", str(self.some(400)))
        shutil.copy(self.base_of_large, os.path.join(path, "base.tar"))
        self.builder.build(path, "large")
        archive = os.path.join(self.directory, "large.tar")
        self.builder.save("large", archive)
        shutil.rmtree(path)
        return archive

    @cached_property
    def crowd_archive(self):
        """An archive of 1,000 images that share their only layer."""
        layer = io.BytesIO()
        with tarfile.open(fileobj=layer, mode="w") as tar:
            entry = tarfile.TarInfo("file")
            entry.size = 9
            tar.addfile(entry, io.BytesIO(b"one line\n"))
        layer = layer.getvalue()
        diff_id = hashlib.sha256(layer).hexdigest()
        members, manifest = {f"{diff_id}/layer.tar": layer}, []
        for number in range(self.crowd):
            config = json.dumps({"architecture": "amd64", "os": "linux", "config": {"Labels": {"number": str(number)}},
                                 "rootfs": {"type": "layers", "diff_ids": [f"sha256:{diff_id}"]},
                                 "history": [{"created": "2026-01-01T00:00:00Z", "created_by": "COPY file /"}]}).encode()
            name = hashlib.sha256(config).hexdigest() + ".json"
            members[name] = config
            manifest.append({"Config": name, "RepoTags": [f"crowd{number:04}:latest"], "Layers": [f"{diff_id}/layer.tar"]})
        members["manifest.json"] = json.dumps(manifest).encode()
        path = os.path.join(self.directory, "crowd.tar")
        with tarfile.open(path, "w") as tar:
            for name, content in members.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
        return path
