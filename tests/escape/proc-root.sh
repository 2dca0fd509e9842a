# Tries: writes through /proc/self/root and /proc/self/cwd.
# Confined: caught
# Free: caught

echo x > "/proc/self/root$beside"
echo x > "/proc/self/cwd/$case/unclaimed.txt"
