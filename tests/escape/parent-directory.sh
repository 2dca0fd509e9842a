# Tries: goes up and down again on the way to an unclaimed file.
# Confined: caught
# Strict: lands
# Free: caught

echo x > "$mine/dir/../beside.txt"
