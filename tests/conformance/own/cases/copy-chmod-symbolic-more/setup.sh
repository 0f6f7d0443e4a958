mkdir -p d/s; echo f >d/f; echo x >d/x; chmod 755 d/x; chmod 640 d/f; ln -s f d/l; chmod 2770 d/s
