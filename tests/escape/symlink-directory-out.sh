# Tries: replaces the claimed directory by a link to a folder of the user and writes below.
# Confined: lands
# Free: skipped: it writes the user's own files

rm -r "$mine/dir"
ln -s "$outside" "$mine/dir"
echo x >> "$mine/dir/precious"
echo x > "$mine/dir/planted"
