mkdir in d; echo 1 > in/1; touch -d @1500000000 in in/1; tar -cf t.tar --owner=0 --group=0 in; rm -r in; echo f > f; cp t.tar d/; rm -f setup.sh case.json
