mkdir -p d/n; echo f > d/n/f; chmod 755 d d/n
