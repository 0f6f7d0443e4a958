"""Jobs with a registry: pull and push of an image of some 650 MB, on loopback.

The image has two layers, as `py:1` in `peers.md`: a Debian with Python, and 450 MB of this machine's own programs and
libraries, which compress as such things do. It is pushed once by skopeo (gzip, one stream per layer), so that every
tool pulls the same bytes; what is pushed goes to a repository that is new each time.
"""
import atexit, os, shutil, socket, subprocess, time
import jobs, measure, tools

LARGEST = 450 << 20


class Registry:
    """Debian's docker-registry in a directory of its own."""

    def __init__(self, directory):
        if not (shutil.which("docker-registry") and shutil.which("skopeo")):
            raise tools.Missing
        self.directory = directory
        os.makedirs(directory)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.host = f"127.0.0.1:{free.getsockname()[1]}"
        jobs.write(directory, "config.yml", f"""version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {directory}/data}}}}
http: {{addr: '{self.host}'}}
""")
        self.process = subprocess.Popen(["docker-registry", "serve", f"{directory}/config.yml"],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        atexit.register(self.close)
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", int(self.host.split(":")[1]))) == 0:
                    return
            time.sleep(0.05)
        raise tools.Missing

    def close(self):
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)


class Usual:
    """The image as a layout, and the registry that has it; made when first asked for, gone with the process."""

    made = {}

    def __init__(self, inputs):
        context = os.path.join(inputs.directory, "usual")
        os.makedirs(context)
        shutil.copy(inputs.base_of_large, os.path.join(context, "base.tar"))
        with open(os.path.join(context, "usr.tar"), "wb") as out:
            files, left = [], inputs.some(LARGEST)
            for place in ("/usr/lib", "/usr/bin", "/usr/share"):
                for parent, _, names in os.walk(place):
                    for path in (os.path.join(parent, name) for name in sorted(names)):
                        size = os.lstat(path).st_size
                        if size < left:
                            files.append(path)
                            left -= size
            subprocess.run(["tar", "-P", "-cf", "-", "--no-recursion", "-T", "-"], stdout=out, check=True,
                           input="\n".join(files).encode(), stderr=subprocess.DEVNULL)
        jobs.write(context, "Dockerfile", "FROM scratch\nADD base.tar /\nADD usr.tar /\n")
        self.context = context
        self.registry = Registry(os.path.join(inputs.directory, "registry"))
        self.pushes, self.filled = 0, None

    @property
    def name(self):
        return f"{self.registry.host}/usual:1"

    @classmethod
    def of(cls, inputs):
        if inputs not in cls.made:
            cls.made[inputs] = cls(inputs)
        return cls.made[inputs]

    def put(self, tool):
        """Fills the registry from the tool's store, compressed by skopeo."""
        archive = os.path.join(self.context, "usual.tar")
        tool.build(self.context, "usual")
        if not os.path.exists(archive):
            tool.save("usual", archive)
        if self.filled is not self.registry.process:
            self.filled = self.registry.process
            subprocess.run(["skopeo", "--insecure-policy", "copy", "-q", "--dest-tls-verify=false",
                            f"docker-archive:{archive}", f"docker://{self.name}"], check=True)

    def new_name(self):
        self.pushes += 1
        return f"{self.registry.host}/pushed{self.pushes}:1"


def insecure(tool):
    """podman and Buildah do not know that loopback needs no TLS."""
    return ["--tls-verify=false"] if tool.name in ("podman", "buildah") else []


def pull(tool, inputs, runs):
    usual = Usual.of(inputs)
    usual.put(tool)
    for _ in range(runs):
        for name in ("usual", usual.name):
            try:
                tool.remove_image(name)
            except measure.CommandFailed:
                pass
        tool.forget_cache()
        yield jobs.pair(tool("pull", *insecure(tool), usual.name))


def push(*flags):
    def job(tool, inputs, runs):
        if flags and not tool.name.startswith("strata"):
            raise tools.Missing
        usual = Usual.of(inputs)
        usual.put(tool)
        for _ in range(runs):
            # Nothing there yet, and nothing that could be mounted or that the tool remembers of an earlier push.
            usual.registry.close()
            usual.registry = Registry(usual.registry.directory)
            name = usual.new_name()
            tool.forget_cache()
            tool("tag", "usual", name)
            yield jobs.pair(tool("push", *flags, *insecure(tool), name))
            tool.remove_image(name)
    return job


def skopeo(inputs, runs):
    """Copying the blobs without unpacking them: what a pull cannot beat by much."""
    usual = Usual.of(inputs)
    target = os.path.join(inputs.directory, "skopeo")
    for _ in range(runs):
        yield jobs.pair(measure.run(["skopeo", "--insecure-policy", "copy", "-q", "--src-tls-verify=false",
                                     f"docker://{usual.name}", f"dir:{target}"])[0])
        shutil.rmtree(target)


ALL = [
    jobs.Job("pull", "pull of an image of 650 MB from loopback; (cp): skopeo, without unpacking", pull, bound=skopeo, limit=1.6),
    jobs.Job("push", "push of it, nothing there yet, gzip", push(), limit=4),
    jobs.Job("push-zstd", "the same with --compression zstd", push("--compression", "zstd"), limit=2),
]
