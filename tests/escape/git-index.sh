# Tries: breaks index and HEAD of its own tree and points it elsewhere, with a change beside the claim.
# Confined: caught
# Strict: lands
# Free: caught

echo x > "$beside"
admin=$(git rev-parse --git-dir)
echo garbage > "$admin/index"
git rev-parse other > "$admin/HEAD"
printf '[core]\n\tworktree = /nowhere\n' > "$admin/config.worktree"
mkdir "$admin/info" && echo '*' > "$admin/info/exclude"
