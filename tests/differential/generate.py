#!/usr/bin/env python3
"""generate.py SEED... - writes small random cases, in the format of tests/conformance, into the folder given by --out.

The same seed always gives the same case. Only what Docker 20.10's BuildKit knows as well is used, so that it can be
the other side of run.py. A case may be one that cannot be built: then both sides have to refuse it.
"""
import argparse, json, os, random

NAMES = ["a", "b.txt", "c.txt", "x y", "é", ".dot", "-dash", "[b]", "n.log", "z"]
DIRS = ["d", "d/e", "d/e/f", "p", "p/q", "empty", ".hid"]
MODES = ["644", "600", "755", "4755", "2755", "1777", "444", "000", "640", "777"]
DESTS = ["/o", "/o/", "/o/p", "/o/p/", "o", "o/", ".", "./", "/", "/t/x", "/t/x/", "/ln", "/ln/", "/ln/y", "/dang/", "/dang/y",
         "/etc", "/etc/", "/home/app/n", "/fl/", "/opt/../o2/", "/o/.", "../up", "$DEST", "${DEST}/s/"]
OWNERS = ["app", "1000", "app:staff", "0:50", "daemon:1000", "77:nogroup", "$OWN", "nobody", "123:456"]
VALUES = ["1", "two words", "a=b", "$A", "${A}x", "${A:-dflt}", "${NONE:-d f}", "${A:+alt}", "${NONE:+alt}", "${NONE}", "$NONE/x",
          "\\$A", "q\\\"q", "it''s", "#h", "a\\ b", "${A:-${B:-deep}}", "$$", "100%", "\\\\"]


def quote(text):
    return "'" + text.replace("'", "'\\''") + "'"


class Case:
    """With `modern` also what 20.10 does otherwise: pipes in the context, --chmod (it leaves implied directories alone)."""

    modern = False

    def __init__(self, seed):
        self.r = random.Random(seed)
        self.files, self.dirs, self.links = [], [], []

    def some(self, odds):
        return self.r.random() < odds

    def setup(self):
        """Shell lines that make the context."""
        r, out = self.r, []
        for name in r.sample(DIRS, r.randint(1, 4)):
            self.dirs.append(name)
            out.append("mkdir -p %s" % name)
        for _ in range(r.randint(2, 7)):
            name = r.choice([""] + [d + "/" for d in self.dirs]) + r.choice(NAMES)
            if name not in self.files:
                self.files.append(name)
                out.append("printf %%s %s > %s" % (quote("content of " + name), quote("./" + name)))
        for name in self.files + self.dirs:
            if self.some(0.3):
                out.append("chmod %s %s" % (r.choice(MODES), quote("./" + name)))
        for at in range(r.randint(0, 3)):
            target = r.choice(["/" + n for n in self.files + self.dirs] + ([self.r.choice(["/a", "../../etc/passwd", "nowhere"])] if self.some(0.2) else []))
            name = r.choice([""] + [d + "/" for d in self.dirs]) + "l%d" % at
            self.links.append(name)
            out.append("ln -s %s %s" % (quote(target), quote(name)))
        if len(self.files) > 1 and self.some(0.3):
            out.append("ln %s ./%s" % (quote("./" + self.files[0]), r.choice(self.dirs) + "/hard"))
        if self.modern and self.some(0.2):
            out.append("mkfifo %s/pipe" % r.choice(self.dirs))
        if self.some(0.5):
            out.append("mkdir -p .t/in/sub; echo one > .t/in/one; echo two > .t/in/sub/two; ln -s sub/two .t/in/lnk; "
                       "ln .t/in/one .t/in/hard; chmod 750 .t/in/sub; chmod 4711 .t/in/one; "
                       "touch -h -d @1500000000 .t/in/one .t/in/sub/two .t/in/lnk .t/in/sub .t/in")
            kind = r.choice(["", "z", "j", "J"])
            out.append("tar -c%sf t.tar --owner=%d --group=%d -C .t in; rm -r .t" % (kind, r.randint(0, 9), r.randint(0, 9)))
            self.files.append("t.tar")
        # What tests cannot read as another user must stay readable for tar and cp, which run as root here.
        return "\n".join(out) + "\n"

    def source(self):
        r = self.r
        pool = self.files + self.dirs * 2 + self.links
        name = r.choice(pool)
        shape = r.random()
        if shape < 0.15:
            return r.choice(["*", "*.txt", "d*", "?", "[a-c]*", "d/*", "*/*", "no*thing", ".h*", "l*", "*/e", "[!a]*", "[^a]*", "\\[b]"])
        if shape < 0.25:
            name = "./" + name
        elif shape < 0.3:
            name = "/" + name
        elif shape < 0.33:
            name = "../" + name
        elif shape < 0.36:
            name = r.choice([".", "./", "/", "missing", "d/../" + name, "./" + name])
        elif shape < 0.45 and name in self.dirs:
            name += r.choice(["/", "/.", "//"])
        return name

    def copy(self, stage=None):
        r = self.r
        flags = []
        if self.some(0.25):
            flags.append("--chown=" + r.choice(OWNERS))
        if self.modern and self.some(0.2):
            flags.append("--chmod=" + r.choice(["640", "0755", "0", "750", "$MODE"]))
        word = "ADD" if stage is None and self.some(0.3) else "COPY"
        if word == "ADD" and "t.tar" in self.files:
            flags = []  # 20.10 leaves owners of archive members alone
        if stage is not None:
            flags.append("--from=" + stage)
        sources = [self.source() for _ in range(r.choice([1, 1, 1, 1, 2, 3]))]
        if stage is not None:
            sources = [r.choice(["/home", "home/", "/etc/a*.conf", "/etc/profile", "/o*", "/etc/*.conf", "/mad*", "/t*", "/*/app", "/var/"])]
        dest = r.choice(DESTS)
        if len(sources) > 1 and self.some(0.8) and not dest.endswith("/"):
            dest += "/"
        words = [s for s in sources if s] + [dest]
        if any(" " in w for w in words) or self.some(0.15):
            return "%s %s %s" % (word, " ".join(flags), json.dumps(words))
        return " ".join([word] + flags + words)

    def run(self):
        return "RUN " + self.r.choice([
            "mkdir -p /made/m && echo $A > /made/m/f && chmod 2750 /made", "rm -rf /etc/a.conf", "rm -rf /o",
            "mv /etc/profile /etc/p2", "ln -s /etc /fl; ln -s ../tmp/new /dang", "[ -d /ln ] || ln -s /var/tmp /ln",
            "mkdir -p /o && chmod 700 /o && chown 7:8 /o", "chown -R 5:6 /home/app", "echo \"$A|$B|$ARG1\" > /vars",
            "echo x > /made.txt && ln /made.txt /made2.txt", "rm -rf /home && mkdir /home && echo new > /home/n",
            "touch -d @1400000000 /etc/group", "chmod 1777 /srv", "mkdir -p /t && ln -s /t/real /t/x || true",
            "pwd > /pwd", "id -u > /uid; id -G > /gids", "mkfifo /ff",
            "env | grep -v ^HOSTNAME | sort > /env", "mknod /nul c 1 3", "rmdir /opt /mnt", "true"])

    def meta(self):
        r = self.r
        v = lambda: r.choice(VALUES)
        dq = lambda s: '"%s"' % s.replace('"', "") if "'" not in s else s
        return r.choice([
            lambda: "ENV A=%s" % dq(v()), lambda: "ENV B %s" % v().replace("'", ""), lambda: "ENV A=new B=$A C='%s'" % v().replace("'", ""),
            lambda: "ARG ARG1=%s" % dq(v()), lambda: "ARG ARG1", lambda: "ARG ARG2=${A}x",
            lambda: "LABEL k=%s \"k $A\"='%s'" % (dq(v()), v().replace("'", "")), lambda: "LABEL old %s" % v().replace("'", ""),
            lambda: "EXPOSE %s" % r.choice(["80", "443 80/udp", "8000-8003", "$PORT", "80 80/tcp", "9/UDP 10/sctp"]),
            lambda: "VOLUME %s" % r.choice(["/v", "/v /w/$A", "[\"/x y\"]", "/made"]),
            lambda: "USER %s" % r.choice(["app", "1000:50", "root", "1234", "app:staff", "$OWN"]),
            lambda: "WORKDIR %s" % r.choice(["/w", "w/x", "/w/../y", "..", "/w/$A", "/", "/ln/z", "/home/app/", "$NONE/q"]),
            lambda: "STOPSIGNAL %s" % r.choice(["SIGINT", "9", "SIGRTMIN+3", "TERM"]),
            lambda: "SHELL %s" % r.choice(['["/bin/sh", "-ec"]', '["/bin/sh", "-c"]', '["sh", "-xc"]']),
            lambda: "CMD %s" % r.choice(["echo $A", '["a", "b c"]', "[]", "['x']"]),
            lambda: "ENTRYPOINT %s" % r.choice(["run it", '["/bin/e", "\\u00e9"]', "[]"]),
            lambda: "HEALTHCHECK %s" % r.choice(["NONE", "CMD true", "--interval=5s --timeout=1m30s --retries=3 CMD [\"x\", \"y\"]",
                                                 "--start-period=0.5s CMD a && b"]),
            lambda: "MAINTAINER some one <a@b>",
        ])()

    def dockerfile(self):
        r = self.r
        stages, lines = r.choice([1, 1, 2, 3]), []
        if self.some(0.3):
            lines.append("ARG BASE=conform-base:1\nARG PORT=7777")
        based = bool(lines)
        for stage in range(stages):
            base = "conform-base:1"
            if based and self.some(0.5):
                base = "$BASE"
            if stage and self.some(0.35):
                base = "s%d" % r.randrange(stage)
            elif self.some(0.05):
                base = "scratch"
            lines.append("FROM %s AS s%d" % (base, stage))
            lines.append("ENV A=va OWN=1000:1000 DEST=/var/dest MODE=0700 PORT=\"3000 4000/udp\"")
            if base == "scratch":
                lines.append(self.copy())
                continue
            for _ in range(r.randint(2, 7)):
                kind = r.random()
                if kind < 0.4:
                    lines.append(self.copy("s%d" % r.randrange(stage) if stage and self.some(0.4) else None))
                elif kind < 0.6:
                    lines.append(self.run())
                elif kind < 0.65 and stage < stages - 1:
                    lines.append("ONBUILD " + r.choice([self.run, self.meta])())
                else:
                    lines.append(self.meta())
        return "\n".join(lines) + "\n"


def write(seed, out):
    case = Case(seed)
    where = os.path.join(out, "random-%05d" % seed)
    os.makedirs(where)
    args = case.r.choice([[], [], ["--build-arg", "ARG1=given"], ["--label", "cli=1"]])
    ignore = case.r.choice(["", "", "", "*.log\n", "d/*\n!d/e\n", "**/*.txt\n!c.txt\n", "Dockerfile\n.dockerignore\n"])
    if ignore:
        with open(os.path.join(where, ".dockerignore"), "w") as fh:
            fh.write(ignore)
    for name, text in (("setup.sh", case.setup()), ("Dockerfile", case.dockerfile())):
        with open(os.path.join(where, name), "w") as fh:
            fh.write(text)
    with open(os.path.join(where, "case.json"), "w") as fh:
        json.dump({"args": args, "expect": "ok", "compare": ["fs", "layers", "config", "history"], "group": "random"}, fh)
    return os.path.basename(where)


if __name__ == "__main__":
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("--out", required=True)
    ap.add_argument("seeds", type=int, nargs="+")
    opts = ap.parse_args()
    for seed in opts.seeds:
        print(write(seed, opts.out))
