# Tries: uses names that are no text, with line breaks, and with what a shell would run.
# Confined: caught
# Free: caught

echo x > "$mine/dir/$(printf 'a\377b')"
echo x > "$mine/$(printf 'a\nb')"
echo x > "$mine/"'$(touch planted); --force'
