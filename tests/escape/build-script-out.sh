# Tries: lets a build of its own write into the user's checkout.
# Confined: lands
# Free: skipped: it writes the user's own files

printf 'echo built > %s/README; echo built > %s/planted\n' "$repo" "$outside" > "$mine/dir/build.sh"
sh "$mine/dir/build.sh"
