mkdir -p d/e/f g; touch d/1 d/e/2 d/e/f/3 g/4 h
