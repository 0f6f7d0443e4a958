"""The command lines that are compared: strata in both layer modes, Docker, Buildah, podman.

Each works in a directory of its own, so that nothing installed on this machine is touched. A method that a tool does
not have raises `Missing`; the table then shows a dash.
"""
import json, os, shutil, signal, subprocess, time
import measure


class Missing(Exception):
    pass


def missing(*_, **__):
    raise Missing


class Tool:
    name = "?"
    label = None
    daemons = ()
    in_parallel = ()  # flags that let independent stages run side by side

    def __init__(self, directory):
        self.root = os.path.join(directory, self.name.replace(" ", "-"))
        os.makedirs(self.root)
        self.env = dict(os.environ)
        self.has_large = self.is_crowded = False

    def __call__(self, *args, stdin=None):
        """Runs one command of the tool; its Sample."""
        return measure.run([*self.argv, *args], self.env, self.daemons, stdin)[0]

    def output(self, *args):
        return measure.run([*self.argv, *args], self.env)[1].strip()

    # The shapes most tools share.
    def load_base(self, tar, name):
        self("import", tar, name)

    def build(self, context, tag, *args):
        return self("build", "-t", tag, *args, context)

    outline = missing

    def run(self, image, *command, network):
        return self("run", "--rm", "--network", network, image, *command)

    def start(self, image, name):
        return self("run", "-d", "--name", name, "--network", "none", image, "sleep", "1000")

    def exec(self, name, *command):
        return self("exec", name, *command)

    def version(self):
        return self("version")

    def list_images(self):
        return self("images")

    def list_containers(self, *args):
        return self("ps", *args)

    def save(self, image, path):
        return self("save", "-o", path, image)

    def load(self, path):
        self.has_large = True
        return self("load", "-i", path)

    def have_large(self, archive):
        """The large image, from its archive if it is not here."""
        if not self.has_large:
            self.load(archive)

    def remove_image(self, image):
        self.has_large = False
        return self("rmi", image)

    def remove_containers(self, names):
        self("rm", "-f", *names)

    def crowd(self, archive, count):
        """The images of an archive, and `count` containers that have ended."""
        if not self.is_crowded:
            self("load", "-i", archive)
            for number in range(count):
                self("run", "--network", "none", "--name", f"crowd{number}", "busybox", "true")
            self.is_crowded = True

    def forget_cache(self):
        """The next build finds nothing: neither steps nor what is known of the context."""

    def idle_processes(self):
        """What stays resident for the containers, the containers' own processes left out."""
        return list(self.daemons)

    def close(self):
        subprocess.run(["rm", "-rf", "--one-file-system", self.root])


def processes_with(word):
    """IDs of processes whose environment or command line contains `word`."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        for part in ("environ", "cmdline"):
            try:
                with open(f"/proc/{pid}/{part}", "rb") as text:
                    if word.encode() in text.read():
                        found.append(int(pid))
                        break
            except OSError:
                break
    return [pid for pid in found if pid != os.getpid()]


class Strata(Tool):
    def __init__(self, directory, binary, mode):
        if not os.access(binary, os.X_OK):
            raise Missing
        self.name = f"strata {mode}"
        super().__init__(directory)
        self.argv = [binary]
        self.env.update(STRATA_ROOT=self.root, STRATA_LAYERS=mode)
        self.label = self.output("--version")

    def outline(self, context):
        return self("build", "--call=outline", context)

    def forget_cache(self):
        self("builder", "prune", "-a", "-f")
        shutil.rmtree(os.path.join(self.root, "contexts"))
        os.mkdir(os.path.join(self.root, "contexts"))

    def idle_processes(self):
        # The containers' own environment knows nothing of the store; the helpers' does.
        return processes_with(f"STRATA_ROOT={self.root}")

    def close(self):
        subprocess.run([*self.argv, "system", "reset", "-f"], env=self.env, stdout=subprocess.DEVNULL)
        super().close()


def docker_client():
    """The first `docker` of PATH that speaks BuildKit: by itself before 23, with the buildx plug-in since; else any."""
    clients = [os.path.join(place, "docker") for place in os.environ.get("PATH", "").split(os.pathsep)]
    clients = [client for client in clients if os.access(client, os.X_OK)]
    for client in clients:
        said = subprocess.run([client, "--version"], capture_output=True, text=True).stdout
        major = "".join(c for c in said.removeprefix("Docker version ").split(".")[0] if c.isdigit())
        plugin = subprocess.run([client, "buildx", "version"], capture_output=True).returncode == 0
        if plugin or (major and int(major) < 23):
            return client, True
    if not clients:
        raise Missing
    return clients[0], False


class Docker(Tool):
    name = "docker"

    def __init__(self, directory):
        client, buildkit = docker_client()
        if not shutil.which("dockerd"):
            raise Missing
        super().__init__(directory)
        # A path that a Unix socket can have, however deep the directory is.
        self.sockets = f"/tmp/strata-bench-{os.getpid()}"
        os.makedirs(self.sockets)
        socket = f"unix://{self.sockets}/docker.sock"
        self.env.pop("DOCKER_HOST", None)
        self.env.pop("DOCKER_CONTEXT", None)
        self.env["DOCKER_BUILDKIT"] = "1" if buildkit else "0"
        self.argv = [client, "-H", socket]
        self.log = open(f"{self.root}/log", "wb")
        self.daemon = subprocess.Popen(
            ["dockerd", "--data-root", f"{self.root}/data", "--exec-root", f"{self.sockets}/exec", "-H", socket,
             "-p", f"{self.sockets}/docker.pid", "--iptables=false", "--ip6tables=false", "--bridge=none"],
            stdout=self.log, stderr=self.log)
        if not self._answers():
            self.close()
            raise Missing
        version = json.loads(self.output("version", "--format", "{{json .Server}}"))["Version"]
        self.label = f"Docker {version}, {'BuildKit' if buildkit else 'classic builder'}"
        self.daemons = [self.daemon.pid] + processes_with(f"{self.sockets}/exec/containerd/containerd.toml")

    def _answers(self):
        for _ in range(300):
            if subprocess.run([*self.argv, "version"], capture_output=True, env=self.env).returncode == 0:
                return True
            if self.daemon.poll() is not None:
                return False
            time.sleep(0.1)
        return False

    def build(self, context, tag, *args):
        return self("build", "--network", "host", "-t", tag, *args, context)

    def run(self, image, *command, network):
        if network == "bridge":
            raise Missing  # its bridge would change the host's firewall
        return super().run(image, *command, network=network)

    def forget_cache(self):
        self("builder", "prune", "-a", "-f")

    def idle_processes(self):
        return list(self.daemons) + processes_with(f"{self.sockets}/exec/containerd/containerd.sock")

    def close(self):
        if self.daemon.poll() is None:
            containers = subprocess.run([*self.argv, "ps", "-aq"], env=self.env, capture_output=True, text=True).stdout
            if containers.split():
                subprocess.run([*self.argv, "rm", "-f", *containers.split()], env=self.env, capture_output=True)
            self.daemon.send_signal(signal.SIGTERM)
            try:
                self.daemon.wait(60)
            except subprocess.TimeoutExpired:
                self.daemon.kill()
                self.daemon.wait()
        self.log.close()
        subprocess.run(["rm", "-rf", "--one-file-system", self.sockets])
        super().close()


class Containers(Tool):
    """What podman and Buildah share: the storage library."""
    in_parallel = ("--jobs", "4")

    def __init__(self, directory, *options):
        if not shutil.which(self.name):
            raise Missing
        super().__init__(directory)
        self.argv = [self.name, "--root", f"{self.root}/root", "--runroot", f"{self.root}/run",
                     "--storage-driver", "overlay", *options]
        self.label = self.output("--version").split(" (")[0]

    def build(self, context, tag, *args):
        return self("build", "--isolation", "chroot", "--network", "host", "--layers", "-t", tag, *args, context)

    def close(self):
        for command in (["rm", "-a"], ["rmi", "-fa"]):
            subprocess.run([*self.argv, *command], capture_output=True, env=self.env)
        subprocess.run(["umount", f"{self.root}/root/overlay"], capture_output=True)
        super().close()


class Podman(Containers):
    name = "podman"

    def __init__(self, directory):
        super().__init__(directory, "--cgroup-manager", "cgroupfs", "--log-level", "error")

    # By itself it raises these two, which root without CAP_SYS_RESOURCE may not (`--ulimit host` raises them, too).
    limits = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096"]

    def run(self, image, *command, network):
        if network == "bridge":
            raise Missing  # its bridge would change the host's firewall
        return self("run", "--rm", *self.limits, "--network", network, image, *command)

    def start(self, image, name):
        return self("run", "-d", *self.limits, "--name", name, "--network", "none", image, "sleep", "1000")

    def idle_processes(self):
        found = []
        for pid in processes_with(f"{self.root}/run"):
            try:
                found += [pid] if "conmon" in os.readlink(f"/proc/{pid}/exe") else []
            except OSError:
                continue
        return found

    def close(self):
        subprocess.run([*self.argv, "rm", "-fa", "-t", "0"], capture_output=True, env=self.env)
        super().close()


class Buildah(Containers):
    name = "buildah"

    def load_base(self, tar, name):
        container = self.output("from", "scratch")
        self("add", "-q", container, tar, "/")
        self("commit", "-q", container, name)
        self("rm", container)

    def save(self, image, path):
        return self("push", image, f"docker-archive:{path}")

    def load(self, path):
        self.has_large = True
        return self("pull", f"docker-archive:{path}")

    # Its containers are for building: nothing of them is detached or listed as `ps` does.
    run = start = exec = list_containers = crowd = missing
