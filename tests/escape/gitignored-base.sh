# Tries: hides a file behind a rule that it puts into the claimed part.
# Confined: caught
# Free: caught

echo '../hidden.txt' > "$mine/dir/.gitignore"
echo '/hidden.txt' > "$mine/.gitignore"
echo hidden > "$mine/hidden.txt"
