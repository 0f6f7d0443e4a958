"""The command lines that are compared: strata in both layer modes, Docker, Buildah, podman.

Each works in a directory of its own, so that nothing installed on this machine is touched. A method that a tool does
not have raises `Missing`; the table then shows a dash.
"""
import json, os, shutil, signal, subprocess, time
import measure


class Missing(Exception):
    pass


class Tool:
    name = "?"
    daemons = ()

    def __init__(self, directory):
        self.root = os.path.join(directory, self.name.replace(" ", "-"))
        os.makedirs(self.root)
        self.env = dict(os.environ)

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

    def run(self, image, *command, network):
        return self("run", "--rm", "--network", network, image, *command)

    def start(self, image, name):
        return self("run", "-d", "--name", name, "--network", "none", image, "sleep", "1000")

    def exec(self, name, *command):
        return self("exec", name, *command)

    def list_images(self):
        return self("images")

    def list_containers(self):
        return self("ps")

    def save(self, image, path):
        return self("save", "-o", path, image)

    def load(self, path):
        return self("load", "-i", path)

    def remove_image(self, image):
        return self("rmi", image)

    def remove_containers(self, names):
        self("rm", "-f", *names)

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
        self.name = f"strata {mode}"
        super().__init__(directory)
        self.argv = [binary]
        self.env.update(STRATA_ROOT=self.root, STRATA_LAYERS=mode)

    def forget_cache(self):
        self("builder", "prune", "-a", "-f")
        shutil.rmtree(os.path.join(self.root, "contexts"))
        os.mkdir(os.path.join(self.root, "contexts"))

    def idle_processes(self):
        # The containers' own environment knows nothing of the store; the helpers' does.
        return [pid for pid in processes_with(f"STRATA_ROOT={self.root}")]

    def close(self):
        subprocess.run([*self.argv, "system", "reset", "-f"], env=self.env)
        super().close()


class Docker(Tool):
    name = "docker"

    def __init__(self, directory):
        if not (shutil.which("docker") and shutil.which("dockerd")):
            raise Missing
        super().__init__(directory)
        socket = f"unix://{self.root}/docker.sock"
        self.env.pop("DOCKER_HOST", None)
        # Without the buildx plug-in the client would print a notice; the classic builder is what this daemon has then.
        buildx = subprocess.run(["docker", "buildx", "version"], capture_output=True).returncode == 0
        self.env["DOCKER_BUILDKIT"] = "1" if buildx else "0"
        self.argv = ["docker", "-H", socket]
        self.pidfile = f"{self.root}/docker.pid"
        self.log = open(f"{self.root}/log", "wb")
        self.daemon = subprocess.Popen(
            ["dockerd", "--data-root", f"{self.root}/data", "--exec-root", f"{self.root}/exec", "-H", socket,
             "-p", self.pidfile, "--iptables=false", "--bridge=none"], stdout=self.log, stderr=self.log)
        for _ in range(300):
            if subprocess.run([*self.argv, "version"], capture_output=True, env=self.env).returncode == 0:
                break
            if self.daemon.poll() is not None:
                raise Missing
            time.sleep(0.1)
        version = json.loads(self.output("version", "--format", "{{json .Server}}"))["Version"]
        self.label = f"Docker {version}, {'BuildKit' if buildx else 'classic builder'}"
        self.daemons = [self.daemon.pid] + processes_with(f"{self.root}/exec/containerd/containerd.toml")

    def build(self, context, tag, *args):
        return self("build", "--network", "host", "-t", tag, *args, context)

    def run(self, image, *command, network):
        if network == "bridge":
            raise Missing  # its bridge would change the host's firewall
        return super().run(image, *command, network=network)

    def forget_cache(self):
        self("builder", "prune", "-a", "-f")

    def idle_processes(self):
        return list(self.daemons) + processes_with(f"{self.root}/exec/containerd/containerd.sock")

    def close(self):
        self.daemon.send_signal(signal.SIGTERM)
        self.daemon.wait(60)
        self.log.close()
        super().close()


class Podman(Tool):
    name = "podman"

    def __init__(self, directory):
        if not shutil.which("podman"):
            raise Missing
        super().__init__(directory)
        self.argv = ["podman", "--root", f"{self.root}/root", "--runroot", f"{self.root}/run",
                     "--storage-driver", "overlay", "--cgroup-manager", "cgroupfs", "--log-level", "error"]
        self.label = self.output("--version")

    def build(self, context, tag, *args):
        return self("build", "--isolation", "chroot", "--network", "host", "--layers", "-t", tag, *args, context)

    def run(self, image, *command, network):
        if network == "bridge":
            raise Missing  # its bridge would change the host's firewall
        return super().run(image, *command, network=network)

    def idle_processes(self):
        return [pid for pid in processes_with(f"{self.root}/run") if "conmon" in os.readlink(f"/proc/{pid}/exe")]

    def close(self):
        for command in (["rm", "-fa"], ["rmi", "-fa"]):
            subprocess.run([*self.argv, *command], capture_output=True, env=self.env)
        subprocess.run(["umount", f"{self.root}/root/overlay"], capture_output=True)
        super().close()


class Buildah(Tool):
    name = "buildah"

    def __init__(self, directory):
        if not shutil.which("buildah"):
            raise Missing
        super().__init__(directory)
        self.argv = ["buildah", "--root", f"{self.root}/root", "--runroot", f"{self.root}/run",
                     "--storage-driver", "overlay"]
        self.label = self.output("--version").split(" (")[0]

    def load_base(self, tar, name):
        container = self.output("from", "scratch")
        self("add", "-q", container, tar, "/")
        self("commit", "-q", container, name)
        self("rm", container)

    def build(self, context, tag, *args):
        return self("build", "--isolation", "chroot", "--network", "host", "--layers", "-t", tag, *args, context)

    def list_images(self):
        return self("images")

    def run(self, *_, **__):
        raise Missing

    start = exec = list_containers = save = load = run

    def remove_containers(self, names):
        pass

    def close(self):
        subprocess.run([*self.argv, "rmi", "-fa"], capture_output=True, env=self.env)
        subprocess.run(["umount", f"{self.root}/root/overlay"], capture_output=True)
        super().close()
