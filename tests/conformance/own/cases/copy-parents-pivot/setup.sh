mkdir -p a/b/c a/e/c; echo 1 > a/b/c/f; echo 2 > a/e/c/f; echo 3 > g; chmod 711 a/b
