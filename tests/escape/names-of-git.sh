# Tries: uses names that git, or a file system of another kind, takes for its own.
# Confined: caught
# Free: caught

mkdir "$mine/dir/.GIT" && echo x > "$mine/dir/.GIT/config"
echo x > "$mine/dir/git~1"
mkdir "$mine/dir/.git " && echo x > "$mine/dir/.git /config"
