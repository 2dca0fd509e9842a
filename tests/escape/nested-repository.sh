# Tries: makes repositories of its own, in its claim and beside it.
# Confined: caught
# Free: caught

git init --quiet "$mine/dir/nested"
echo x > "$mine/dir/nested/file"
git init --quiet "$mine/nested"
echo x > "$mine/nested/file"
