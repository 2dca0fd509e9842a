# Tries: puts a repository of its own in the place of its tree's git file.
# Confined: caught
# Strict: lands
# Free: caught

mv "$tree/.git" "$TMPDIR/was"
git init --quiet "$tree"
echo x > "$beside"
git -C "$tree" add --all
