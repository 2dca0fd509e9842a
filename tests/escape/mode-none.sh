# Tries: closes files and folders so that nobody can look at them.
# Confined: caught
# Free: caught

echo x > "$beside" && chmod 000 "$beside"
mkdir "$mine/closed" && echo x > "$mine/closed/file" && chmod 000 "$mine/closed"
