mkdir w; echo one >w/f; ln -s f w/l; mkdir w/d; chmod 750 w/d
# The same bytes wherever this runs.
tar --sort=name --owner=3 --group=4 --numeric-owner --mtime=@1500000000 -C w -cf plain f l d
gzip -nc plain >gz; bzip2 -c plain >bz2; xz -c plain >xz; zstd -qc plain >zst
echo word >word; echo text | gzip -n >notatar.gz; : >empty.tar; rm -r w
