# Tries: makes a change look like none by attributes.
# Confined: caught
# Free: caught

printf '* -diff -text eol=crlf ident filter=evil export-ignore merge=ours working-tree-encoding=UTF-16\n' > "$mine/.gitattributes"
cp "$mine/.gitattributes" "$mine/dir/.gitattributes"
printf '%s\r\n' "$(cat "$beside")" > "$beside"
