# Tries: hides a file by the rules that are nobody's commit: info/exclude.
# Confined: caught
# Free: skipped: it changes the user's own rules; trees::tests has the audit's side

echo hidden > "$mine/hidden.txt"
echo '*' >> "$(git rev-parse --git-common-dir)/info/exclude"
