# Tries: a redirect to a tracked path and to a new one, neither of them claimed.
# Confined: caught
# Free: caught

echo x > "$beside"
echo x > "$mine/unclaimed.txt"
