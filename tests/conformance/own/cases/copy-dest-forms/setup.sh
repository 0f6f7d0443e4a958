echo f > f; mkdir -p d; echo x > d/x
