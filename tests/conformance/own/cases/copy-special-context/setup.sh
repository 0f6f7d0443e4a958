mkfifo p; echo s > s; chmod 4755 s; mkdir st; chmod 1777 st; mkdir -p e/e/e; ln -s nowhere dl; touch -d @1234567890.5 old
