"""Runs one command and says how long it took and how much memory it needed at most."""
import os, subprocess, tempfile, time
from dataclasses import dataclass


@dataclass
class Sample:
    seconds: float
    peak_kib: int  # of the largest process of the command, plus the growth of the daemons that worked for it


class CommandFailed(Exception):
    pass


def high_water(pid):
    """VmHWM in KiB."""
    try:
        with open(f"/proc/{pid}/status") as status:
            return next((int(line.split()[1]) for line in status if line.startswith("VmHWM")), 0)
    except OSError:
        return 0


def run(argv, env=None, daemons=(), stdin=None):
    """A Sample of `argv`. The high-water marks of `daemons` (process IDs) are set back before."""
    for pid in daemons:
        with open(f"/proc/{pid}/clear_refs", "w") as refs:
            refs.write("5")
    # GNU time, because a child of this process starts with this process's own size as its high-water mark. Its own
    # start, about a millisecond, is in the time of every tool.
    with tempfile.NamedTemporaryFile("r") as peak, open(os.devnull if stdin is None else stdin, "rb") as source:
        start = time.perf_counter()
        done = subprocess.run(["/usr/bin/time", "-q", "-f", "%M", "-o", peak.name, *argv], env=env, stdin=source,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        seconds = time.perf_counter() - start
        output = done.stdout.decode("utf-8", "replace")
        if done.returncode != 0:
            raise CommandFailed(f"{' '.join(argv)}: exit code {done.returncode}\n{output.strip()[-2000:]}")
        return Sample(seconds, int(peak.read()) + sum(high_water(pid) for pid in daemons)), output


def machine(directory):
    """What the figures depend on, in one line: processors, memory, kernel, the file system of `directory`, the day."""
    with open("/proc/cpuinfo") as text:
        model = next((line.split(":")[1].strip() for line in text if line.startswith("model name")), "processors")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    kind = subprocess.run(["df", "--output=fstype", directory], capture_output=True, text=True).stdout.split()[-1]
    cores, kernel = len(os.sched_getaffinity(0)), os.uname().release
    return f"{cores} x {model}, {memory:.0f} GiB; Linux {kernel}, {kind}; {time.strftime('%Y-%m-%d')}"


def memory(pids, field):
    """KiB of these processes together: `Rss`, or `Pss`, which divides shared pages among their users."""
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/smaps_rollup") as rollup:
                total += next((int(line.split()[1]) for line in rollup if line.startswith(f"{field}:")), 0)
        except OSError:
            continue
    return total


def disk(directory):
    """Bytes that `directory` takes on its own file system."""
    found = subprocess.run(["du", "-sx", "--block-size=1", directory], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return int(found.stdout.split()[0])
