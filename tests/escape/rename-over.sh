# Tries: writes a claimed file and renames it over one that is not.
# Confined: caught
# Strict: lands
# Free: caught

echo x > "$mine/new.txt"
mv "$mine/new.txt" "$beside"
