echo f > f; mkdir -p d/e; echo x > d/e/x
