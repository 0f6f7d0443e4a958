mkdir -p in/s; echo 1 > in/s/1; touch -d @1500000000 in/s/1 in/s in; tar -cf t.tar --owner=3 --group=4 -C in s; rm -r in; echo f > f
