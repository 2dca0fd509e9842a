# Tries: writes into the user's git directory, file by file.
# Confined: lands
# Free: skipped: it breaks the user's own repository

for file in HEAD index config packed-refs info/exclude info/attributes refs/heads/main hooks/pre-commit \
    objects/info/alternates numerus/trees.lock logs/HEAD config.worktree shallow info/grafts; do
    echo x >> "$repo/.git/$file"
done
rm -r "$repo/.git/refs"
