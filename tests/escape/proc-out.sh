# Tries: writes through /proc into the user's checkout.
# Confined: lands
# Free: skipped: it writes the user's own files

echo x >> "/proc/self/root$repo/README"
exec 3< "$repo/README"
echo x >> /proc/self/fd/3
exec 4< "$repo"
echo x > /proc/self/fd/4/planted
