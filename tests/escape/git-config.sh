# Tries: sets what every later git call of the user would obey.
# Confined: lands
# Free: skipped: it changes the user's own settings

git config core.hooksPath "$mine/dir"
git config core.fsmonitor "$mine/dir/run"
git config filter.evil.clean "$mine/dir/run"
git config --global alias.status '!touch planted'
git -C "$repo" config core.editor "$mine/dir/run"
