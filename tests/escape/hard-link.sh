# Tries: gives an unclaimed file a claimed name and writes through that.
# Confined: caught
# Strict: lands
# Free: caught

ln "$beside" "$mine/dir/link.txt"
echo x >> "$mine/dir/link.txt"
