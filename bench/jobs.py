"""The jobs. Each takes a tool and gives one (value, peak KiB) per run; what is not measured happens before the yield."""
import os, shutil, subprocess, time
from dataclasses import dataclass
from functools import cached_property
from typing import Callable
import measure


class Inputs:
    """What the jobs read, made when first asked for."""

    def __init__(self, directory, repo, files):
        self.directory, self.repo, self.files = directory, repo, files
        os.makedirs(directory)

    def _context(self, name, *args):
        path = os.path.join(self.directory, name)
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
        path = self._context("context", "--files", str(self.files))
        write(path, "Dockerfile", "FROM scratch\nCOPY . /app\n")
        return path

    @cached_property
    def steps(self):
        """Twenty RUN steps that do next to nothing."""
        path = os.path.join(self.directory, "steps")
        os.makedirs(path)
        write(path, "Dockerfile", "FROM busybox\n" + "".join(f"RUN echo {i} > /file{i}\n" for i in range(20)))
        return path

    @cached_property
    def archive(self):
        """As many bytes as the saved large image has."""
        path = os.path.join(self.directory, "archive")
        subprocess.run(["tar", "-C", self.large, "-cf", path, "."], check=True)
        return path

    @cached_property
    def large(self):
        """An image of 650 MB: a Python on Debian, 7,000 small files, one incompressible file."""
        path = self._context("large", "--files", "7000", "--big-mib", "400")
        shutil.copy(self._base("python"), os.path.join(path, "python.tar"))
        write(path, "Dockerfile", "FROM scratch\nADD python.tar /\nCOPY pkg* big.bin /app/\n")
        return path


def write(directory, name, text):
    with open(os.path.join(directory, name), "w") as file:
        file.write(text)


@dataclass
class Job:
    name: str
    about: str
    run: Callable
    show: Callable = lambda seconds: f"{seconds:.3f} s"
    bound: Callable | None = None


def pair(sample):
    return sample.seconds, sample.peak_kib


def copied(source):
    """What a plain copy takes: the bound to compare with."""
    def job(inputs, runs):
        target = os.path.join(inputs.directory, "copied")
        for _ in range(runs):
            yield pair(measure.run(["cp", "-r", source(inputs), target])[0])
            subprocess.run(["rm", "-r", target], check=True)
    return job


def copy_cold(tool, inputs, runs):
    for _ in range(runs):
        tool.forget_cache()
        yield pair(tool.build(inputs.context, "copy", "--no-cache"))


def copy_warm(tool, inputs, runs):
    tool.build(inputs.context, "copy")
    for _ in range(runs):
        yield pair(tool.build(inputs.context, "copy"))


def copy_one(tool, inputs, runs):
    tool.build(inputs.context, "copy")
    for _ in range(runs):
        write(os.path.join(inputs.context, "pkg000"), "changing", str(time.time_ns()))
        yield pair(tool.build(inputs.context, "copy"))


def twenty_runs(tool, inputs, runs):
    for _ in range(runs):
        yield pair(tool.build(inputs.steps, "steps", "--no-cache"))


def run_true(network):
    def job(tool, _, runs):
        for _ in range(runs * 4):
            yield pair(tool.run("busybox", "true", network=network))
    return job


def exec_true(tool, _, runs):
    tool.start("busybox", "bench-exec")
    try:
        for _ in range(runs * 4):
            yield pair(tool.exec("bench-exec", "true"))
    finally:
        tool.remove_containers(["bench-exec"])


def list_images(tool, _, runs):
    for _ in range(runs * 4):
        yield pair(tool.list_images())


def list_containers(tool, _, runs):
    for _ in range(runs * 4):
        yield pair(tool.list_containers())


def save(tool, inputs, runs):
    tool.build(inputs.large, "large")
    path = os.path.join(inputs.directory, "saved.tar")
    for _ in range(runs):
        if os.path.exists(path):
            os.remove(path)
        yield pair(tool.save("large", path))
    os.remove(path)


def load(tool, inputs, runs):
    """`rmi` and the cache's hold on the layers come before each load."""
    tool.build(inputs.large, "large")
    path = os.path.join(inputs.directory, "saved.tar")
    tool.save("large", path)
    try:
        for _ in range(runs):
            tool.remove_image("large")
            tool.forget_cache()
            yield pair(tool.load(path))
    finally:
        os.remove(path)


def remove(tool, inputs, runs):
    for _ in range(runs):
        tool.forget_cache()
        tool.build(inputs.large, "large")
        yield pair(tool.remove_image("large"))


def ten(what):
    """Ten containers on the large image: `what` is measured of the ten together."""
    def job(tool, inputs, runs):
        tool.build(inputs.large, "large")
        names = [f"bench{i}" for i in range(10)]
        for _ in range(runs):
            before = measure.disk(tool.root)
            start = time.perf_counter()
            peak = max(tool.start("large", name).peak_kib for name in names)
            seconds = time.perf_counter() - start
            try:
                yield {"time": (seconds, peak), "disk": (measure.disk(tool.root) - before, 0),
                       "memory": (measure.proportional(tool.idle_processes()), 0)}[what]
            finally:
                tool.remove_containers(names)
    return job


ALL = [
    Job("copy-cold", "COPY of 20,000 files, nothing cached", copy_cold, bound=copied(lambda i: i.context)),
    Job("copy-warm", "the same again, nothing changed", copy_warm),
    Job("copy-one", "the same, one file changed", copy_one),
    Job("run-20", "20 RUN steps, --no-cache", twenty_runs),
    Job("run-none", "run --rm --network none busybox true", run_true("none")),
    Job("run-bridge", "run --rm busybox true, on a bridge", run_true("bridge")),
    Job("exec", "exec of true in a running container", exec_true),
    Job("images", "images", list_images),
    Job("ps", "ps", list_containers),
    Job("save", "save of an image of 650 MB", save, bound=copied(lambda i: i.archive)),
    Job("load", "load of it", load, bound=copied(lambda i: i.archive)),
    Job("rmi", "rmi of it", remove),
    Job("ten-time", "10 containers on it: time to start them one after the other", ten("time")),
    Job("ten-disk", "the same: disk they take", ten("disk"), lambda size: f"{size / 1000:.0f} kB"),
    Job("ten-mem", "the same: resident memory of helpers and daemons (PSS)", ten("memory"), lambda kib: f"{kib / 1024:.1f} MiB"),
]
