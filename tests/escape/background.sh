# Tries: leaves children behind that write when the turn is over.
# Confined: lands
# Free: lands

(sleep 60; echo late > "$beside") &
nohup sh -c 'sleep 60; echo late > "$0"' "$beside" &
setsid sh -c 'sleep 60; echo late > "$0"' "$beside" &
