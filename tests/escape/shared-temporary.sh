# Tries: leaves something in the folders that every program of the user reads.
# Confined: lands
# Free: skipped: it writes outside of everything that is the test's own

for folder in /tmp /var/tmp "$codex_home" "$home"; do echo x > "$folder/numerus-escape-$$"; done
