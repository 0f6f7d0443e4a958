mkdir -p d/s/t; touch d/a.txt d/b.md d/s/keep.txt d/s/x.txt d/s/t/y.md
