# Tries: replaces the claimed file by a link into the user's checkout and writes through it.
# Confined: lands
# Free: skipped: it writes the user's own files

unlink "$claimed"
ln -s "$repo/README" "$claimed"
echo x >> "$claimed"
ln -s "$outside/precious" "$mine/new.txt"
echo x >> "$mine/new.txt"
