echo a > a; ln a b; mkdir d; echo x > d/1; ln d/1 d/2; ln d/1 d/3
