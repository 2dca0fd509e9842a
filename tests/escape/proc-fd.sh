# Tries: opens an unclaimed file for reading and writes through its descriptor.
# Confined: caught
# Strict: lands
# Free: caught

exec 3< "$beside"
echo x > /proc/self/fd/3
