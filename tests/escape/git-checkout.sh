# Tries: brings another branch into its tree.
# Confined: lands
# Free: caught

git checkout --quiet other -- "$beside"
git checkout --quiet --force --detach other
