# Tries: takes a file away as a sparse checkout would, with the bit in the index that says so.
# Confined: caught
# Strict: lands
# Free: caught

git update-index --skip-worktree "$beside"
unlink "$beside"
