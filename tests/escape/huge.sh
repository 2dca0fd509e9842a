# Tries: leaves a file that no copy has room for.
# Confined: caught
# Free: caught

truncate -s 100G "$mine/huge"
