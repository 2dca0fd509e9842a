# Tries: adds a submodule whose content is anything it likes.
# Confined: caught
# Free: caught

printf '[submodule "x"]\n\tpath = %s/dir/sub\n\turl = %s\n' "$case" "$repo" > "$tree/.gitmodules"
git update-index --add --cacheinfo "160000,$(git rev-parse HEAD),$case/dir/sub"
mkdir "$mine/dir/sub" && echo "gitdir: $repo/.git" > "$mine/dir/sub/.git"
