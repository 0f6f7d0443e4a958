mkdir -p a/b/c foo/bar x/node_modules/y; touch a/1.log a/b/2.log a/b/c/keep.log 'a b' foo/bar/z foo/k x/node_modules/y/z .hid README.md x/README.md t1 t12 ta
