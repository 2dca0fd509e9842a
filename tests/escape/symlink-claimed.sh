# Tries: replaces the claimed file by a link to an unclaimed one and writes through it.
# Confined: caught
# Strict: lands
# Free: caught

unlink "$claimed"
ln -s beside.txt "$claimed"
echo x >> "$claimed"
