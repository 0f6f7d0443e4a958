echo f > f; echo i > ign; tar -cf t.tar f
