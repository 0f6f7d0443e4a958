python3 - <<'P'
import tarfile,io
t=tarfile.open('t.tar','w')
def f(n,d=b'x',**k):
    i=tarfile.TarInfo(n); i.size=len(d); i.mtime=1400000000
    for a,b in k.items(): setattr(i,a,b)
    t.addfile(i,io.BytesIO(d))
f('/abs'); f('./dot/./f'); f('ex/in'); f('ln/through'); f('a/b/c',mode=0o4755,uid=7,gid=8,uname='app',gname='staff')
i=tarfile.TarInfo('h'); i.type=tarfile.LNKTYPE; i.linkname='a/b/c'; i.mode=0o600; i.uid=3; t.addfile(i)
i=tarfile.TarInfo('s'); i.type=tarfile.SYMTYPE; i.linkname='../../etc/a.conf'; i.mtime=1400000000; t.addfile(i)
i=tarfile.TarInfo('emptyd/'); i.type=tarfile.DIRTYPE; i.mode=0o1711; i.mtime=1400000000; t.addfile(i)
f('dup',b'1'); f('dup',b'22')
t.close()
P
