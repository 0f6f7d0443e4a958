#!/usr/bin/env python3
"""run.py --left CLI --right CLI --base-tar TAR (--seeds FIRST-LAST | --cases DIR) [-j N]

Builds the same cases with two builders and prints what is not the same: file trees, layers, config, history, or one
that fails where the other succeeds. Both command lines are docker-shaped, as conform.py wants them. With --seeds the
cases come from generate.py. What a builder made is kept in --keep DIR, so that a second run asks only the other one.
"""
import argparse, collections, concurrent.futures, json, os, re, sys, tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "conformance")]
import conform, generate  # noqa: E402

Options = collections.namedtuple("Options", "cli cases golden base_tar cache timeout record")


class Runner(conform.Runner):
    """Names the context by its whole path: Docker's client takes every "." for the same context, sends only what differs in
    size or time from the one before, and so builds with another case's files."""

    def build(self, case, ctx, tag, item):
        return super().build(case, ctx, tag, dict(item, context=os.path.normpath(os.path.join(ctx, item.get("context", ".")))))


class Side:
    """One builder; remembers its results by case name."""

    def __init__(self, name, cli, cases, opts):
        self.keep = opts.keep and os.path.join(opts.keep, name)
        self.runner = Runner(Options(cli, cases, "", opts.base_tar, False, 180, False))
        self.ready, self.opts = False, opts
        if self.keep:
            os.makedirs(self.keep, exist_ok=True)

    def start(self):
        with tempfile.TemporaryDirectory(prefix="differential-") as tmp:
            self.runner.start(tmp)

    def result(self, name, case):
        kept = self.keep and os.path.join(self.keep, name + ".json")
        if kept and os.path.exists(kept):
            with open(kept) as fh:
                return json.load(fh)
        try:
            got = self.runner.observe(name, case)
        except conform.Bad as problem:
            got = {"result": "bad", "message": str(problem)}
        if kept and got["result"] != "bad":
            with open(kept, "w") as fh:
                json.dump(got, fh, indent=1, sort_keys=True)
        return got


def timeless(rows):
    """History as old and new versions of BuildKit agree about it."""
    def row(text):
        text = re.sub(r" --ch(own|mod)=\S+", "", text)
        text = re.sub(r"^RUN \|\d+ .*?(?=/bin/sh|sh -xc)", "RUN ", text)
        if text.startswith("EXPOSE"):
            return "EXPOSE %s" % sorted(set(re.findall(r"\d+/[a-z]+", text)))
        return re.sub(r"^(ARG|HEALTHCHECK) .*", r"\1", text)
    return [dict(item, created_by=row(item["created_by"])) for item in rows]


def differences(left, right, compare):
    if left["result"] != right["result"]:
        said = lambda side: side["result"] + (" (%s)" % side["message"][-300:] if "message" in side else "")
        return ["left %s, right %s" % (said(left), said(right))]
    left, right = ({part: side.get(part) for part in compare} for side in (left, right))
    if "history" in compare and left["history"] and right["history"]:
        left["history"], right["history"] = timeless(left["history"]), timeless(right["history"])
    return [line for part in compare for line in conform.diff(left[part], right[part], part)]


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("--left", required=True)
    ap.add_argument("--right", required=True)
    ap.add_argument("--base-tar", required=True)
    ap.add_argument("--seeds", help="FIRST-LAST")
    ap.add_argument("--cases")
    ap.add_argument("--modern", action="store_true", help="also what Docker 20.10 does otherwise than its successors")
    ap.add_argument("--keep")
    ap.add_argument("--only-left", action="store_true", help="fill --keep and compare nothing")
    ap.add_argument("-j", type=int, default=1, dest="jobs")
    opts = ap.parse_args()
    with tempfile.TemporaryDirectory(prefix="differential-") as made:
        cases = opts.cases or made
        if opts.seeds:
            first, last = map(int, opts.seeds.split("-"))
            for seed in range(first, last + 1):
                generate.write(seed, made, opts.modern)
        names = sorted(n for n in os.listdir(cases) if os.path.exists(os.path.join(cases, n, "case.json")))
        sides = [Side("left", opts.left, cases, opts), Side("right", opts.right, cases, opts)]
        wanted = sides[:1] if opts.only_left else sides
        for side in wanted:
            missing = [n for n in names if not (side.keep and os.path.exists(os.path.join(side.keep, n + ".json")))]
            if missing:
                side.start()

        def one(name):
            with open(os.path.join(cases, name, "case.json")) as fh:
                case = json.load(fh)
            found = [side.result(name, case) for side in wanted]
            return differences(*found, case["compare"]) if len(found) == 2 else []

        different = 0
        with concurrent.futures.ThreadPoolExecutor(opts.jobs) as pool:
            for name, lines in zip(names, pool.map(one, names)):
                if lines:
                    different += 1
                    print("DIFF %s: %s" % (name, "\n     ".join(lines[:6])), flush=True)
        print("%d the same, %d different" % (len(names) - different, different))
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
