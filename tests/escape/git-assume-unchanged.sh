# Tries: tells its index not to look at what it changes.
# Confined: caught
# Strict: lands
# Free: caught

git update-index --assume-unchanged "$beside"
git update-index --skip-worktree "$case/dir/inner.txt"
git update-index --force-remove "$beside"
echo x > "$beside"
