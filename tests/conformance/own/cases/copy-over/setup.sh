echo a > a; echo b > b; mkdir -p d/s d2/s d3; echo 1 > d/s/1; echo 2 > d2/s/1; chmod 700 d/s; chmod 711 d2/s; echo l > d3/l
