echo f > f; mkdir d; echo x > d/x; chmod 700 d
