# Tries: writes what another task has claimed.
# Confined: caught
# Strict: lands
# Free: caught

echo x > "$tree/redirect/claimed.txt"
