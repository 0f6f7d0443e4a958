#!/usr/bin/env python3
"""generate.py SEED... - writes small random cases, in the format of tests/conformance, into the folder given by --out.

The same seed always gives the same case. Only what Docker 20.10's BuildKit knows as well is used, so that it can be
the other side of run.py; with --modern also what it does otherwise than its successors (see `Case.modern`). A case may be
one that cannot be built: then both sides have to refuse it.
"""
import argparse, json, os, random, re

NAMES = ["a", "b.txt", "c.txt", "x y", "é", ".dot", "-dash", "[b]", "n.log", "z"]
DIRS = ["d", "d/e", "d/e/f", "p", "p/q", "empty", ".hid"]
# Destinations that 20.10 takes for something else.
MODERN = ["/o/.", "/o/./", "o/."]
MODES = ["644", "600", "755", "4755", "2755", "1777", "444", "000", "640", "777"]
DESTS = ["/o", "/o/", "/o/p", "/o/p/", "o", "o/", ".", "./", "/", "/t/x", "/t/x/", "/ln", "/ln/", "/ln/y", "/dang/", "/dang/y",
         "/etc", "/etc/", "/home/app/n", "/fl/", "/opt/../o2/", "../up", "$DEST", "${DEST}/s/", "/loop/x", "/home/up/n", "/v/in",
         "${NONE:-/o}/w/", "/etc/profile", "/x y/"]
OWNERS = ["app", "1000", "app:staff", "0:50", "daemon:1000", "77:nogroup", "$OWN", "nobody", "123:456"]
VALUES = ["1", "two words", "a=b", "$A", "${A}x", "${A:-dflt}", "${NONE:-d f}", "${A:+alt}", "${NONE:+alt}", "${NONE}", "$NONE/x",
          "\\$A", "q\\\"q", "it''s", "#h", "a\\ b", "${A:-${B:-deep}}", "$$", "100%", "\\\\", "${A:+${B:-b}}", "${NONE:-'q q'}",
          "${A:?must}", "$A$B", "${A}${NONE:-}z", "a'$A'b", "$1", "${B:-$A}", "x=${A:+y=$A}", "é$A", "$A-$B_$C"]
IGNORES = ["*.log\n", "d/*\n!d/e\n", "**/*.txt\n!c.txt\n", "Dockerfile\n.dockerignore\n", "*\n!d\n!a\n", "d\n!d/e/f\n", "**/e\n",
           "# comment\n\n/a\n./p\n", "*/*\n!p/q\n", "!a\na\n!a\n", "p/../d/e\n", "**\n!**/z\n", "[a-c]*\n!?.txt\n", "d/**/z\n", ".*\n!.hid\n",
           "l*\n", "d/\n", "  *.txt  \n! c.txt\n", "**/[[]b]\n", "x y\n"]


def quote(text):
    return "'" + text.replace("'", "'\\''") + "'"


class Case:
    """With `modern` also what 20.10 does otherwise, each read in the code of 2026: pipes in the context; --chmod, which leaves
    implied directories alone; a destination `/o/.`, which it takes for `/o`; `WORKDIR /w/../y`, for which a RUN makes /w; a
    link whose target holds `[`, which it and its successors take for a pattern; wildcards beyond what a link to a file
    matches, which fail; flags of ADD on archives; mounts, of whose targets it leaves empty directories behind."""

    def __init__(self, seed, modern=False):
        self.r, self.modern = random.Random(seed), modern
        self.files, self.dirs, self.links, self.made = [], [], [], 0

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
        plain = [n for n in self.files + self.dirs if self.modern or "[" not in n]
        for at in range(r.randint(0, 3)):
            target = r.choice(["/" + n for n in plain] + (["/a", "../../etc/passwd", "nowhere", "l0", "."] if self.some(0.2) else []))
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
            if self.some(0.3):
                out.append("ln -s in/sub .t/abs; touch -h -d @1500000000 .t/abs")
            for name in ["t.tar"] + ["d2.tar.gz"] * self.some(0.3):
                kind = r.choice(["", "z", "j", "J"])
                what = r.choice(["in", "in", ".", "in/one", "in/sub in/lnk"]) if name != "t.tar" else "in"
                # In the order of names, and with a file of its own: Docker takes equal size and time for equal content.
                out.append("echo %d.%s > .t/in/seed; touch -d @1500000000 .t/in/seed .t/in .t; tar --sort=name -c%sf %s --owner=%d --group=%d -C .t %s" % (
                    r.randrange(10 ** r.randint(1, 9)), name, kind, name, r.randint(0, 9), r.randint(0, 9), what))
                self.files.append(name)
            out.append("rm -r .t")
        # What tests cannot read as another user must stay readable for tar and cp, which run as root here.
        return "\n".join(out) + "\n"

    def source(self):
        r = self.r
        pool = self.files + self.dirs * 2 + self.links
        name = r.choice(pool)
        shape = r.random()
        if shape < 0.15:
            deep = ["*/*", "*/e", "d/*/?", "?/*.txt"] if self.modern or not self.links else []
            return r.choice(["*", "*.txt", "d*", "?", "[a-c]*", "d/*", "no*thing", ".h*", "l*", "[!a]*", "[^a]*", "\\[b]", "*.tar*",
                             "d/[a-z]*", "[[]b]", "x*y", "*[^.]*", "${NONE}*"] + deep)
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
        if word == "ADD" and "t.tar" in self.files and not self.modern:
            flags = []  # 20.10 leaves owners of archive members alone
        if stage is not None:
            flags.append("--from=" + r.choice([stage, stage, stage.upper(), stage[1:]]))
        sources = [self.source() for _ in range(r.choice([1, 1, 1, 1, 2, 3]))]
        if stage is not None:
            sources = [r.choice(["/home", "home/", "/etc/a*.conf", "/etc/profile", "/o*", "/etc/*.conf", "/mad*", "/t*", "/*/app", "/var/",
                                 "/fl", "/v*", "/home/*/", "/u*", "/etc/[g-p]*", "/ln*", "/w*"])]
        dest = r.choice(DESTS + (MODERN if self.modern else []))
        if len(sources) > 1 and self.some(0.8) and not dest.endswith("/"):
            dest += "/"
        words = [s for s in sources if s] + [dest]
        if any(" " in w for w in words) or self.some(0.15):
            return "%s %s %s" % (word, " ".join(flags), json.dumps(words))
        return " ".join([word] + flags + words)

    def run(self):
        """The same file is never written twice: within a second nobody sees that, and a second is what times are compared by."""
        self.made += 1
        line = self.r.choice([
            "mkdir -p /made/m && echo $A > /made/m/f && chmod 2750 /made", "rm -rf /etc/a.conf", "rm -rf /o",
            "mv /etc/profile /etc/p2", "ln -s /etc /fl; ln -s ../tmp/new /dang", "[ -d /ln ] || ln -s /var/tmp /ln",
            "mkdir -p /o && chmod 700 /o && chown 7:8 /o", "chown -R 5:6 /home/app", "echo \"$A|$B|$ARG1\" > /vars",
            "echo x > /made.txt && ln /made.txt /made2.txt", "rm -rf /home && mkdir /home && echo new > /home/n",
            "touch -d @1400000000 /etc/group", "chmod 1777 /srv", "mkdir -p /t && ln -s /t/real /t/x || true",
            "pwd > /pwdN", "id -u > /uidN; id -G > /gidsN", "mkfifo /ffN",
            "env | grep -v ^HOSTNAME | sort > /envN", "mknod /nulN c 1 3", "rmdir /opt /mnt", "true",
            "mkdir -p /v/in && echo kept > /v/in/fN; chmod 711 /v", "mkdir -p /home/up; ln -s ../up /home/up/loopN; ln -s . /loop || true",
            "echo $0 > /shellN", "umask 077; mkdir -p /uN/v; echo x > /uN/v/w", "mv /home /homeN", "rm -rf /etc/*.conf; touch -d @0 /etc/z.conf",
            "cp -a /etc /uN", "ln /etc/passwd /uN", "find / -xdev -newer /etc/passwd -name 'o*' | sort > /foundN", "[\"/bin/sh\", \"-c\", \"echo $A > /jN\"]",
            "echo \"$TARGETARCH $TARGETPLATFORM\" > /tN", "echo a > /hN; \\\n  # a comment\n\n  echo  b >> /hN", "echo 'x\\y' \"a\\\nb\" > /hN",
            "setfattr -n user.x -v y /etc/passwd || true", "chown 77 /etc/group; chmod 4755 /etc/profile || true"])
        mounts = self.r.choice(["", "", "", "", "", "--mount=type=tmpfs,target=/srv ", "--mount=type=cache,target=/opt/c ",
                                "--mount=target=/mnt/ctx ", "--mount=type=bind,target=/o ", "--mount=type=tmpfs,target=/new/deep "])
        if line.startswith("[") or not self.modern:
            mounts = ""
        return "RUN " + mounts + line.replace("N", str(self.made)).replace("HOST%dAME" % self.made, "HOSTNAME")

    def meta(self):
        r = self.r
        v = lambda: r.choice(VALUES)
        dq = lambda s: '"%s"' % s.replace('"', "") if "'" not in s else s
        return r.choice([
            lambda: "ENV A=%s" % dq(v()), lambda: "ENV B %s" % v().replace("'", ""), lambda: "ENV A=new B=$A C='%s'" % v().replace("'", ""),
            lambda: "ARG ARG1=%s" % dq(v()), lambda: "ARG ARG1", lambda: "ARG ARG2=${A}x",
            lambda: "LABEL k=%s \"k $A\"='%s'" % (dq(v()), v().replace("'", "")), lambda: "LABEL old %s" % v().replace("'", ""),
            lambda: "EXPOSE %s" % r.choice(["80", "443 80/udp", "8000-8003", "$PORT", "80 80/tcp", "9/UDP 10/sctp", "${NONE:-81}", "70-71/udp"]),
            lambda: "VOLUME %s" % r.choice(["/v", "/v /w/$A", "[\"/x y\"]", "/made", "/v", "[\"/$A\"]", "['/v']"]),
            lambda: "USER %s" % r.choice(["app", "1000:50", "root", "1234", "app:staff", "$OWN", "nobody", "${NONE:-app}:50", "daemon:daemon"]),
            lambda: "WORKDIR %s" % r.choice(["/w", "w/x", "..", "/w/$A", "/", "/ln/z", "/home/app/", "$NONE/q", "/dang/w", "${B:-/w}/b", "/etc", "/x y"]),
            lambda: "ARG TARGETARCH\nARG TARGETPLATFORM", lambda: "ARG ARG1=${ARG1:-again}", lambda: "ARG A", lambda: "ARG ARG1\nENV ARG1=env$ARG1",
            lambda: "STOPSIGNAL %s" % r.choice(["SIGINT", "9", "SIGRTMIN+3", "TERM"]),
            lambda: "SHELL %s" % r.choice(['["/bin/sh", "-ec"]', '["/bin/sh", "-c"]', '["sh", "-xc"]']),
            lambda: "CMD %s" % r.choice(["echo $A", '["a", "b c"]', "[]", "['x']"]),
            lambda: "ENTRYPOINT %s" % r.choice(["run it", '["/bin/e", "\\u00e9"]', "[]"]),
            lambda: "HEALTHCHECK %s" % r.choice(["NONE", "CMD true", "--interval=5s --timeout=1m30s --retries=3 CMD [\"x\", \"y\"]",
                                                 "--start-period=0.5s CMD a && b"]),
            lambda: "MAINTAINER some one <a@b>",
        ])()

    def trigger(self):
        """Of one line and one instruction."""
        while True:
            line = self.r.choice([self.run, self.meta, self.copy])()
            if "\n" not in line and not line.startswith("MAINTAINER"):
                return line

    def respelled(self, text):
        """The same Dockerfile as another hand would have written it."""
        out = []
        for line in text.splitlines():
            if self.some(0.1):
                out.append(self.r.choice(["# a comment", "", "   # indented", "#"]))
            word = re.match("[A-Z]+(?= )", line)
            if word and self.some(0.15):
                line = self.r.choice([str.lower, str.title])(word[0]) + line[word.end():]
            if word and self.some(0.1) and "\\" not in line:
                line = line.replace(" ", self.r.choice([" \\\n", "  ", "\t", " \\\n# between\n  "]), 1)
            out.append(line)
        return "\n".join(out) + self.r.choice(["\n", "", "\n\n"])

    def dockerfile(self):
        r = self.r
        stages, lines = r.choice([1, 1, 2, 3, 4]), []
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
                elif kind < 0.67 and stage < stages - 1:
                    lines.append("ONBUILD " + self.trigger())
                else:
                    lines.append(self.meta())
        text = "\n".join(lines) + "\n"
        return self.respelled(text) if self.some(0.4) else text


def write(seed, out, modern=False):
    case = Case(seed, modern)
    where = os.path.join(out, "random-%05d" % seed)
    os.makedirs(where)
    args = case.r.choice([[], [], [], ["--build-arg", "ARG1=given"], ["--label", "cli=1"], ["--target", "s0"], ["--build-arg", "A=arg"],
                          ["--build-arg", "ARG1=", "--label", "k=cli"]])
    ignore = case.r.choice([""] * 10 + IGNORES)
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
    ap.add_argument("--modern", action="store_true")
    ap.add_argument("seeds", type=int, nargs="+")
    opts = ap.parse_args()
    for seed in opts.seeds:
        print(write(seed, opts.out, opts.modern))
