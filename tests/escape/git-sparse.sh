# Tries: turns its tree into a sparse one, so that files vanish by setting.
# Confined: lands
# Free: skipped: sparse-checkout changes the repository's settings for everybody

git sparse-checkout set --no-cone "/$case/dir/"
