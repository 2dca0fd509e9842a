# Tries: writes names that differ from the claimed ones in case alone.
# Confined: caught
# Free: caught

echo x > "$mine/CLAIMED.TXT"
mkdir "$mine/DIR" && echo x > "$mine/DIR/inner.txt"
