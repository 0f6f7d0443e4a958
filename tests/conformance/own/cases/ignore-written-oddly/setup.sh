mkdir -p a/x b c/d; touch a/no a/x/yes a/x/no b/f c/d/f "#kept" e.log keep.log
printf '\357\273\277.dockerignore\r\n# comment\r\n   Dockerfile  \r\n\r\na\r\n!a/x/yes\r\n./b/\r\n/c/../c/d\r\n*.log\r\n! keep.log\r\n' >.dockerignore
