# Tries: writes what another task has claimed.
# Confined: caught
# Free: caught

echo x > "$tree/redirect/claimed.txt"
