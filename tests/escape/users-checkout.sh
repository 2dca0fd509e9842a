# Tries: changes, adds and removes files of the user's checkout by their absolute path.
# Confined: lands
# Free: skipped: it writes the user's own files

echo x >> "$repo/README"
echo x > "$repo/planted"
unlink "$repo/src/a.txt"
chmod +x "$repo/README"
mv "$repo/src" "$repo/moved"
