"""The jobs. Each takes a tool and gives one (value, peak KiB) per run; what is not measured happens before the yield.

A job may end after any of its yields: what it made for the tool it takes back in a `finally`.
"""
import os, subprocess, time
from dataclasses import dataclass
from typing import Callable
import measure
from inputs import write

SECONDS, KIB, BYTES = "s", "KiB", "B"


@dataclass
class Job:
    name: str
    about: str
    run: Callable
    unit: str = SECONDS
    bound: Callable | None = None  # what a plain tool of the system takes for the same bytes
    limit: float | None = None  # target of strata, in the unit
    of_bound: float | None = None  # the same, as a multiple of `bound`
    ours: bool = False  # only strata by default: the others take minutes, or have nothing like it
    once: bool = False  # too long to be repeated


def pair(sample):
    return sample.seconds, sample.peak_kib


def copied(source):
    """A plain copy."""
    def job(inputs, runs):
        target = os.path.join(inputs.directory, "copied")
        for _ in range(runs):
            yield pair(measure.run(["cp", "-r", source(inputs), target])[0])
            subprocess.run(["rm", "-r", target], check=True)
    return job


def cold(context, tag):
    def job(tool, inputs, runs):
        directory = context(inputs)
        for _ in range(runs):
            tool.forget_cache()
            yield pair(tool.build(directory, tag, "--no-cache"))
    return job


def warm(context, tag):
    def job(tool, inputs, runs):
        tool.build(context(inputs), tag)
        for _ in range(runs):
            yield pair(tool.build(context(inputs), tag))
    return job


def copy_one(tool, inputs, runs):
    tool.build(inputs.context, "copy")
    for _ in range(runs):
        write(os.path.join(inputs.context, "pkg000"), "changing", str(time.time_ns()))
        yield pair(tool.build(inputs.context, "copy"))


def uncached(context, tag, *args):
    def job(tool, inputs, runs):
        for _ in range(runs):
            yield pair(tool.build(context(inputs), tag, "--no-cache", *args))
    return job


def diamond(tool, inputs, runs):
    for _ in range(runs):
        yield pair(tool.build(inputs.diamond, "diamond", "--no-cache", *tool.in_parallel))


def outline(tool, inputs, runs):
    for _ in range(runs * 4):
        yield pair(tool.outline(inputs.long))


def run_true(network, image=lambda tool, inputs: "busybox"):
    def job(tool, inputs, runs):
        name = image(tool, inputs)
        tool.run(name, "true", network=network)  # the first container of an image mounts its layers
        for _ in range(runs * 4):
            yield pair(tool.run(name, "true", network=network))
    return job


def layers(count):
    """An image of so many layers above busybox."""
    def image(tool, inputs):
        tool.build(inputs.deep(count), f"deep{count}")
        return f"deep{count}"
    return image


def exec_true(tool, _, runs):
    tool.start("busybox", "bench-exec")
    try:
        for _ in range(runs * 4):
            yield pair(tool.exec("bench-exec", "true"))
    finally:
        tool.remove_containers(["bench-exec"])


def version(tool, _, runs):
    for _ in range(runs * 4):
        yield pair(tool.version())


def list_images(tool, _, runs):
    for _ in range(runs * 4):
        yield pair(tool.list_images())


def list_containers(tool, _, runs):
    for _ in range(runs * 4):
        yield pair(tool.list_containers())


def crowded(list_all):
    """The same in a store of 1,000 images and 1,000 ended containers."""
    def job(tool, inputs, runs):
        tool.crowd(inputs.crowd_archive, inputs.crowd)
        for _ in range(runs * 4):
            yield pair(list_all(tool))
    return job


def save(tool, inputs, runs):
    tool.have_large(inputs.large_archive)
    path = os.path.join(inputs.directory, "saved.tar")
    try:
        for _ in range(runs):
            if os.path.exists(path):
                os.remove(path)
            yield pair(tool.save("large", path))
    finally:
        if os.path.exists(path):
            os.remove(path)


def load(tool, inputs, runs):
    """`rmi` and the cache's hold on the layers come before each load."""
    for _ in range(runs):
        tool.have_large(inputs.large_archive)
        tool.remove_image("large")
        tool.forget_cache()
        yield pair(tool.load(inputs.large_archive))


def remove(tool, inputs, runs):
    for _ in range(runs):
        tool.have_large(inputs.large_archive)
        yield pair(tool.remove_image("large"))


def ten(what):
    """Ten containers on the large image: `what` is measured of the ten together."""
    def job(tool, inputs, runs):
        tool.have_large(inputs.large_archive)
        names = [f"bench{i}" for i in range(10)]
        for _ in range(runs):
            before = measure.disk(tool.root)
            start = time.perf_counter()
            try:
                peak = max(tool.start("large", name).peak_kib for name in names)
                seconds = time.perf_counter() - start
                time.sleep(0 if what == "time" else 1)
                yield {"time": (seconds, peak), "disk": (measure.disk(tool.root) - before, 0),
                       "memory": (measure.memory(tool.idle_processes(), "Pss"), 0)}[what]
            finally:
                tool.remove_containers(names)
    return job


def helper(tool, _, runs):
    for _ in range(runs):
        before = set(tool.idle_processes())
        tool.start("busybox", "bench-helper")
        try:
            time.sleep(1)
            yield measure.memory(set(tool.idle_processes()) - before, "Rss"), 0
        finally:
            tool.remove_containers(["bench-helper"])


def context(inputs):
    return inputs.context


def huge(inputs):
    return inputs.huge


ALL = [
    Job("version", "version", version, limit=0.010),
    Job("images", "images", list_images, limit=0.010),
    Job("ps", "ps", list_containers, limit=0.010),
    Job("run-none", "run --rm --network none busybox true", run_true("none"), limit=0.015),
    Job("run-bridge", "run --rm busybox true, on a bridge", run_true("bridge"), limit=0.025),
    Job("exec", "exec of true in a running container", exec_true, limit=0.010),
    Job("run-20", "20 RUN steps, --no-cache", uncached(lambda i: i.steps, "steps"), limit=0.30),
    Job("diamond", "two stages of sleep 1 between two others of sleep 1, --no-cache", diamond, limit=3.3),
    Job("parse", "build --call=outline of a Dockerfile of 5,000 lines", outline, limit=0.050),
    Job("copy-cold", "COPY of the context, nothing cached", cold(context, "copy"), bound=copied(context), of_bound=1.0),
    Job("copy-warm", "the same again, nothing changed", warm(context, "copy"), limit=0.10),
    Job("copy-one", "the same, one file changed", copy_one, limit=0.6),
    Job("ten-cold", "COPY of a context of ten times as many files, nothing cached", cold(huge, "huge"), ours=True, once=True),
    Job("ten-warm", "the same again, nothing changed", warm(huge, "huge"), limit=1.1, ours=True),
    Job("big-file", "COPY of one file of 2 GB, nothing cached", cold(lambda i: i.big_file, "big"),
        bound=copied(lambda i: i.big_file), once=True),
    Job("save", "save of an image of 650 MB", save, bound=copied(lambda i: i.large_archive), of_bound=1.2),
    Job("load", "load of it", load, bound=copied(lambda i: i.large_archive), of_bound=1.5),
    Job("rmi", "rmi of it", remove, limit=0.2),
    Job("ten-time", "10 containers on it: time to start them one after the other", ten("time")),
    Job("ten-disk", "the same: disk they take", ten("disk"), BYTES),
    Job("ten-mem", "the same: memory of their helpers and of daemons (PSS)", ten("memory"), KIB),
    Job("helper", "what a detached container adds besides itself (RSS)", helper, KIB, limit=2048),
    Job("deep-5", "run --rm --network none of an image of 6 layers", run_true("none", layers(5)), ours=True),
    Job("deep-490", "the same, 491 layers", run_true("none", layers(490)), ours=True),
    Job("images-1000", "images, of 1,000 images and 1,000 containers", crowded(lambda t: t.list_images()), limit=0.020, ours=True),
    Job("ps-1000", "ps there", crowded(lambda t: t.list_containers()), limit=0.020, ours=True),
    Job("psa-1000", "ps -a there", crowded(lambda t: t.list_containers("-a")), ours=True),
]
