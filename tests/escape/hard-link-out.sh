# Tries: gives files of the user a claimed name and writes through that.
# Confined: lands
# Free: skipped: it writes the user's own files

ln "$outside/precious" "$mine/new.txt" && echo x >> "$mine/new.txt"
ln "$repo/README" "$mine/dir/readme" && echo x >> "$mine/dir/readme"
