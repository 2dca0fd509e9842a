# Tries: renames an unclaimed file into the claim: that is a deletion beside it.
# Confined: caught
# Strict: lands
# Free: caught

mv "$beside" "$mine/new.txt"
