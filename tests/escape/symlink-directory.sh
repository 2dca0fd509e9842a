# Tries: replaces the claimed directory by a link to the one around it and writes below.
# Confined: caught
# Strict: lands
# Free: caught

rm -r "$mine/dir"
ln -s . "$mine/dir"
echo x >> "$mine/dir/beside.txt"
