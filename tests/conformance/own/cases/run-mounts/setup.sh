mkdir d; echo a > d/a; echo one > one; rm -f setup.sh
