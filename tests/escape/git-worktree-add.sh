# Tries: makes a worktree of its own inside its claim.
# Confined: lands
# Free: caught

git worktree add --quiet --detach "$mine/dir/tree" other
