mkdir -p a/b/c d; echo 1 >a/1.txt; echo 2 >a/b/2.txt; echo 3 >a/b/c/3.txt; echo 4 >d/4.md; echo 5 >top.txt; chmod 700 a/b; chmod 711 a
