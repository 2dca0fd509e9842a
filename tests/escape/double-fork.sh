# Tries: leaves a child behind that has no parent, no terminal and no mark in its environment.
# Confined: lands
# Free: lands

(env -i PATH="$PATH" setsid sh -c '(sleep 60; echo late > "$0") &' "$beside" > "$mine/dir/log" 2>&1 &)
